package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	// awayMost is the longest that a failed call to another node is held. A node that
	// is removed meanwhile is called for as long.
	awayMost = 20 * time.Second
	// awayTick is how soon it is let go of when this node leads no more.
	awayTick = 100 * time.Millisecond
)

// untilBack waits until a node to which a call has failed answers a heartbeat that was
// asked since, and reports whether it has. It gives up when this node does not lead in
// that term any more, and after a while. Between calls that fail Raft waits longer each
// time, up to ten seconds, and what a node hears first when it is back is the next of
// them: so they fail seldom. Heartbeats go on meanwhile.
func (t *raftTransport) untilBack(id raft.ServerID, term uint64, since time.Time) bool {
	f := t.node.Load()
	if f == nil {
		return false
	}
	limit, tick := time.NewTimer(awayMost), time.NewTicker(awayTick)
	defer limit.Stop()
	defer tick.Stop()
	for (*f).State() == raft.Leader && (*f).CurrentTerm() == term {
		back, changed := t.acks.Since(id, since)
		if back {
			return true
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-limit.C:
			return false
		case <-t.dead:
			return false
		case <-t.closed:
			return false
		}
	}
	return false
}

// isHeartbeat goes by what Raft's own receiver takes for one.
func isHeartbeat(args *raft.AppendEntriesRequest) bool {
	return args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}
