package cluster

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Outside says why this node is no part of the cluster, so that its state falls
// behind for good and must not be read; "" while it is part of one, or of none yet.
// Every call asks, so an answer holds for a moment: Raft copies what it is asked for.
func (n *Node) Outside() string {
	now := time.Now()
	last := n.judged.Load()
	if last == nil || now.Sub(last.at) >= judgedFor {
		last = &judgement{now, outside(n.cfg.Name, n.servers(), n.retiring.told.Load() != nil && n.contact.isolated.Load())}
		n.judged.Store(last)
	}
	return last.why
}

// judgement is what Outside said, and when.
type judgement struct {
	at  time.Time
	why string
}

// judgedFor is how long it is said again: much less than what a leader takes to remove
// a node.
const judgedFor = 5 * time.Millisecond

// outside judges by the newest configuration that the node has: the leader sends
// the one without it, once. A node that could not get it was told beforehand, and
// hears of no leader now.
func outside(name string, servers []raft.Server, dismissed bool) string {
	if len(servers) == 0 || listed(name, servers) && !dismissed {
		return ""
	}
	return "node " + name + " is not in the cluster: it was removed, or is not added yet; ask another node"
}

func listed(name string, servers []raft.Server) bool {
	return slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == name })
}

// retireGrace is after how long under a leader a node that is still listed was
// not removed after all; a leader gives up a removal well before.
const retireGrace = 2 * membershipTimeout

// retirement is when this node was told that it is being removed, on the clock of
// contact.led. It is told beforehand, and the removal may fail.
type retirement struct {
	told atomic.Pointer[time.Time]
}

func (r *retirement) begin(c *contact, now time.Time) {
	told := c.led(now)
	r.told.Store(&told)
}

// fails ends it if the removal has failed, and reports that.
func (r *retirement) fails(c *contact, name string, servers []raft.Server) bool {
	told := r.told.Load()
	return told != nil && listed(name, servers) && c.since(*told) >= retireGrace && r.told.CompareAndSwap(told, nil)
}
