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
	heard   map[raft.ServerID]time.Time // when each was last asked what it has answered in any way
	changed chan struct{}               // closed with the next one; nil if nobody waits
}

type ack struct {
	asked time.Time // before it was sent
	term  uint64
}

// Note takes an answer to what was asked at that time in that term.
func (a *Acks) Note(id raft.ServerID, asked time.Time, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hear(id, asked)
	if a.newest == nil {
		a.newest = map[raft.ServerID]ack{}
	}
	if last, ok := a.newest[id]; ok && (term < last.term || term == last.term && asked.Before(last.asked)) {
		return // of two that were under way, the older was answered later
	}
	a.newest[id] = ack{asked, term}
}

// Heard takes an answer that does not say that its server follows: one that has seen a
// newer term refuses.
func (a *Acks) Heard(id raft.ServerID, asked time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hear(id, asked)
}

// hear notes an answer and wakes who waits for one: when mu is let go, all of it is
// known. The caller holds mu.
func (a *Acks) hear(id raft.ServerID, asked time.Time) {
	if a.heard == nil {
		a.heard = map[raft.ServerID]time.Time{}
	}
	if asked.After(a.heard[id]) {
		a.heard[id] = asked
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// Since reports whether a server has answered, in any way, what it was asked at that
// time or later. The channel is closed with the next answer of any.
func (a *Acks) Since(id raft.ServerID, at time.Time) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked, ok := a.heard[id]
	return ok && !asked.Before(at), a.next()
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
	return follow > voters/2, a.next()
}

// next gives the channel of the next answer. The caller holds mu.
func (a *Acks) next() <-chan struct{} {
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}
