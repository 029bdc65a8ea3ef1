package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/awake"
)

// contact is when this node last followed a leader, or was one.
type contact struct {
	opened   time.Time
	last     atomic.Pointer[time.Time]
	isolated atomic.Bool
	// missing is how long there was no leader in all, counted when one was back.
	missing atomic.Int64
}

// note says that there was a leader at a moment. A stretch without one is no time
// under a leader, whatever comes after it.
func (c *contact) note(seen time.Time) {
	gap := seen.Sub(c.at())
	if gap <= 0 {
		return
	}
	if gap > awake.Stall {
		c.missing.Add(int64(gap))
	}
	c.last.Store(&seen)
}

// led gives a moment on the clock that runs under leaders only.
func (c *contact) led(moment time.Time) time.Time {
	return moment.Add(-time.Duration(c.missing.Load()))
}

// at is the moment of the last contact; the opening of the node if there was
// none.
func (c *contact) at() time.Time {
	if t := c.last.Load(); t != nil {
		return *t
	}
	return c.opened
}

// since is how long after a moment of the clock led there was a leader.
func (c *contact) since(moment time.Time) time.Duration {
	return max(0, c.led(c.at()).Sub(moment))
}

// watchContact keeps it up to date and tells the caller of isolation, until ctx
// ends.
func (n *Node) watchContact(ctx context.Context) {
	tick := time.NewTicker(awake.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.awake.Now()
		latest := n.raft.LastContact()
		if heard := n.transport.heard(); heard.After(latest) {
			latest = heard
		}
		seen := n.awake.At(latest)
		if n.raft.State() == raft.Leader { // it keeps the lease only with a quorum
			seen = now
		}
		n.contact.note(seen)
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
