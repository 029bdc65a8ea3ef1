package cluster

import (
	"time"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// clusterClock makes the stamps of one term. It runs on this process' monotonic
// clock from a base, never backwards, and never gives an instant twice, so that
// an instant names an entry.
type clusterClock struct {
	base  fsm.Instant
	start time.Time
	last  fsm.Instant
	wall  func() time.Time
	mono  func() time.Time // only differences count
}

// newClusterClock starts where the state is. led is the time that went by,
// under some leader, after this node applied that state: without it the time
// of a quiet cluster would be lost when its leader changes. Time without a
// leader is not counted, because no worker could report in it.
func newClusterClock(at fsm.Instant, led time.Duration, wall, mono func() time.Time) *clusterClock {
	return &clusterClock{base: at.Add(max(0, led)), start: mono(), last: at, wall: wall, mono: mono}
}

// now is the cluster time of the moment.
func (c *clusterClock) now() fsm.Instant {
	if bugs.On(bugs.WallClock) {
		return max(c.base.Add(c.wall().Sub(c.start)), c.last)
	}
	return max(c.base.Add(c.mono().Sub(c.start)), c.last)
}

// stamp marks an entry.
func (c *clusterClock) stamp() fsm.Stamp {
	c.last = max(c.now(), c.last+1)
	return fsm.Stamp{Instant: c.last, Wall: c.wall().UnixNano()}
}
