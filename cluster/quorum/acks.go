// Package quorum knows who still follows the leader, by what was asked and answered.
package quorum

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Acks knows of each follower when it was last asked a heartbeat that it has
// answered as a follower of this node. Raft's own word that this node leads is
// not enough for a read: it counts every answer that arrives, also one that was
// given long ago and lay in a buffer while this process, or the network, stood
// still. Others may have elected a leader and written in between. The zero value
// knows nothing; safe for concurrent use.
type Acks struct {
	mu      sync.Mutex
	newest  map[raft.ServerID]ack
	changed chan struct{} // closed with the next one; nil if nobody waits
}

type ack struct {
	asked time.Time // before it was sent
	term  uint64
}

// Note takes an answer to what was asked at that time in that term.
func (a *Acks) Note(id raft.ServerID, asked time.Time, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.newest == nil {
		a.newest = map[raft.ServerID]ack{}
	}
	if last, ok := a.newest[id]; ok && (term < last.term || term == last.term && asked.Before(last.asked)) {
		return // of two that were under way, the older was answered later
	}
	a.newest[id] = ack{asked, term}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// Confirm reports whether a quorum of the servers, self among them, has followed
// the leader of the term after since. Then no other can have been elected before
// it. The channel is closed with the next answer.
func (a *Acks) Confirm(self raft.ServerID, servers []raft.Server, term uint64, since time.Time) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	voters, follow := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if got, ok := a.newest[s.ID]; s.ID == self || ok && got.term == term && !got.asked.Before(since) {
			follow++
		}
	}
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return follow > voters/2, a.changed
}
