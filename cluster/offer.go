package cluster

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// offer is a command that a node hands to the leader.
type offer struct {
	cmd  fsm.Command
	data []byte // cmd, encoded; nil if the leader made it
	// resent: it was sent before, perhaps to another leader, so it may have been
	// done. Nobody can say of it any more that it was not.
	resent bool
}

// take puts what is offered into the queue, and gives back what is not taken: new
// runs, while the leader is saturated, and what finds no room.
func (p *proposer) take(offers []offer) (refusals []refusal) {
	now := time.Now()
	taken := make([]offer, 0, len(offers))
	denied := refusal{reason: limpetv1.PeerRefused_SATURATED}
	for _, o := range offers {
		id := string(o.cmd.GetRequestId())
		if asksForRuns(o.cmd) && !p.queue.has(id) && !p.applied().Remembers(o.cmd) { // neither asks for anything more
			runs, must := freshRuns(o.cmd, p.applied)
			if !p.load.admit(runs, must || o.resent, now) {
				denied.ids = append(denied.ids, id)
				continue
			}
		}
		taken = append(taken, o)
	}
	if len(denied.ids) > 0 {
		denied.after = p.load.advice()
		refusals = append(refusals, denied)
	}
	if full := p.queue.put(taken); len(full) > 0 {
		refusals = append(refusals, refusal{reason: limpetv1.PeerRefused_OVERLOADED, ids: full})
	}
	return refusals
}
