package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const contactTick = 100 * time.Millisecond

// contact is when this node last followed a leader, or was one.
type contact struct {
	opened   time.Time
	last     atomic.Pointer[time.Time]
	isolated atomic.Bool
}

// at is the moment of the last contact; the opening of the node if there was
// none.
func (c *contact) at() time.Time {
	if t := c.last.Load(); t != nil {
		return *t
	}
	return c.opened
}

// since is how long after a moment there still was a leader.
func (c *contact) since(moment time.Time) time.Duration { return max(0, c.at().Sub(moment)) }

// watchContact keeps it up to date and tells the caller of isolation, until ctx
// ends.
func (n *Node) watchContact(ctx context.Context) {
	tick := time.NewTicker(contactTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.awake.now()
		seen := n.awake.at(n.raft.LastContact())
		if n.raft.State() == raft.Leader { // it keeps the lease only with a quorum
			seen = now
		}
		if seen.After(n.contact.at()) {
			n.contact.last.Store(&seen)
		}
		isolated := now.Sub(n.contact.at()) >= n.cfg.IsolatedAfter
		if isolated == n.contact.isolated.Load() {
			continue
		}
		n.contact.isolated.Store(isolated)
		if isolated {
			n.log.Warn("no contact with a leader", "for", n.cfg.IsolatedAfter)
		} else {
			n.log.Info("in contact with a leader again")
		}
		if n.cfg.OnIsolated != nil {
			n.cfg.OnIsolated(isolated)
		}
	}
}
