package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	// probeTimeout is how long the leader waits for a node's word on a worker;
	// longer than all its pings take.
	probeTimeout = 1500 * time.Millisecond
	// probeAgain is the pause after a probe that did not find the worker gone.
	probeAgain = time.Second
	// maxProbes bounds the workers that are asked after at once: when a node dies
	// all its workers are in doubt.
	maxProbes = 32
)

// verdict is what the nodes together say of a worker's process.
type verdict uint8

const (
	verdictNone  verdict = iota // they cannot say
	verdictAlive                // one of them reached it
	verdictGone                 // none reaches it any more, or it said goodbye
)

// testimony is the outcome of a probe, for the goroutine that judges.
type testimony struct {
	worker  fsm.WorkerID
	about   *watched // the lease as it was when the question was put
	asked   time.Time
	verdict verdict
	words   string
}

// probe is this node's own word on a worker's process.
func (n *Node) probe(ctx context.Context, member string) limpetv1.ProbeAnswer_Verdict {
	m, ok := n.gossip.table.workers.get(member)
	switch {
	case !ok:
		return limpetv1.ProbeAnswer_UNKNOWN
	case m.state == memberLeft:
		return limpetv1.ProbeAnswer_LEFT
	}
	for range pings {
		if ctx.Err() != nil {
			return limpetv1.ProbeAnswer_UNKNOWN
		}
		if n.ping(member) {
			return limpetv1.ProbeAnswer_ALIVE
		}
	}
	if !m.reached {
		return limpetv1.ProbeAnswer_UNKNOWN
	}
	return limpetv1.ProbeAnswer_SILENT
}

// inquire asks all nodes after a worker's process. It is gone if no node that
// lives reaches it and at least one has reached it before; a minority of the
// nodes, or one that lives and does not answer, gives no verdict.
func (n *Node) inquire(ctx context.Context, l *liveness, member string) (verdict, string) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	servers := n.servers()
	answers := make(chan *limpetv1.ProbeAnswer, len(servers)) // nil: no answer
	asked := 0
	for _, s := range servers {
		name := fsm.NodeID(s.ID)
		if name != n.Name() && n.surelyDead(l, name) {
			continue
		}
		asked++
		asking.Go(func() { answers <- n.askProbe(ctx, name, string(s.Address), member) })
	}
	if asked < len(servers)/2+1 {
		return verdictNone, ""
	}
	missing, silent, left := 0, 0, 0
	for range asked {
		a := <-answers
		switch {
		case a == nil:
			missing++
		case a.GetVerdict() == limpetv1.ProbeAnswer_ALIVE:
			return verdictAlive, ""
		case a.GetVerdict() == limpetv1.ProbeAnswer_SILENT:
			silent++
		case a.GetVerdict() == limpetv1.ProbeAnswer_LEFT:
			left++
		}
	}
	switch {
	case missing > 0:
		return verdictNone, ""
	case left > 0:
		return verdictGone, "its process said goodbye"
	case silent > 0:
		return verdictGone, fmt.Sprintf("its process does not answer any of %d nodes", asked)
	}
	return verdictNone, ""
}

// surelyDead reports whether a node is away by two witnesses.
func (n *Node) surelyDead(l *liveness, name fsm.NodeID) bool {
	m, ok := n.gossip.table.get(string(name))
	return ok && m.state != memberAlive && n.awake.Now().Sub(l.nodeHeard(name)) >= nodeSilence
}

func (n *Node) askProbe(ctx context.Context, name fsm.NodeID, addr, member string) *limpetv1.ProbeAnswer {
	if name == n.Name() {
		return &limpetv1.ProbeAnswer{Verdict: n.probe(ctx, member)}
	}
	conn, err := n.peers.conn(ctx, addr)
	if err != nil {
		return nil
	}
	f, err := conn.call(ctx, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_ProbeRequest{ProbeRequest: &limpetv1.ProbeRequest{Member: member}}})
	if err != nil {
		return nil
	}
	return f.GetProbeAnswer()
}

// investigate puts the questions of the judge, as far as there is room for them.
// Each ends within its timeout, so before the reign's end at the latest a little
// after it.
func (n *Node) investigate(ctx context.Context, r *reign, doubts []doubt) {
	for _, d := range doubts {
		select {
		case r.probing <- struct{}{}:
		default:
			return // asked again at the next look
		}
		d.about.asked = n.awake.Now()
		asked := d.about.asked
		n.wg.Go(func() {
			defer func() { <-r.probing }()
			v, words := n.inquire(ctx, r.liveness, d.member)
			n.gossip.table.workers.countProbe(v)
			select {
			case r.testimonies <- testimony{d.worker, d.about, asked, v, words}:
			case <-ctx.Done():
			}
		})
	}
}

// askable reports whether the nodes may be asked after the worker: not again
// right after the last time.
func (e *watched) askable(now time.Time) bool {
	return e.asked.IsZero() || now.Sub(e.asked) >= probeTimeout+probeAgain
}
