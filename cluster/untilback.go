package cluster

import (
	"sync"
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

// answers knows when each node was last asked something that it has answered, whatever
// the answer was: one that has seen a newer term refuses, and has to be heard.
type answers struct {
	mu      sync.Mutex
	asked   map[raft.ServerID]time.Time
	changed chan struct{} // closed with the next one; nil if nobody waits
}

// note takes an answer to what was asked at that time.
func (a *answers) note(id raft.ServerID, asked time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[raft.ServerID]time.Time{}
	}
	if asked.After(a.asked[id]) {
		a.asked[id] = asked
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// since reports whether a node has answered what it was asked at that time or later.
// The channel is closed with the next answer of any.
func (a *answers) since(id raft.ServerID, at time.Time) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	asked, ok := a.asked[id]
	return ok && !asked.Before(at), a.changed
}

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
		back, changed := t.answers.since(id, since)
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
