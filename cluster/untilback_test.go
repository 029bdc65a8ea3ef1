package cluster

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/quorum"
)

// leading is a node that leads in a term, or in none.
type leading struct{ term atomic.Uint64 }

func (l *leading) State() raft.RaftState {
	if l.term.Load() == 0 {
		return raft.Follower
	}
	return raft.Leader
}
func (l *leading) CurrentTerm() uint64 { return l.term.Load() }
func (*leading) LastIndex() uint64     { return 0 }

// A call that has failed is held until its node answers a heartbeat, and not for
// longer than this node leads.
func TestACallThatFailedIsHeldUntilItsNodeAnswers(t *testing.T) {
	const term = 7
	for _, c := range []struct {
		name   string
		does   func(*raftTransport, *leading) // after a second
		within time.Duration
	}{
		{"an answer", func(t *raftTransport, _ *leading) { t.acks.Heard("n2", time.Now()) }, time.Second},
		{"an answer to what was asked before", func(t *raftTransport, _ *leading) { t.acks.Heard("n2", time.Now().Add(-time.Minute)) }, awayMost},
		{"an answer of another node", func(t *raftTransport, _ *leading) { t.acks.Heard("n3", time.Now()) }, awayMost},
		{"nothing", func(*raftTransport, *leading) {}, awayMost},
		{"it leads no more", func(_ *raftTransport, l *leading) { l.term.Store(0) }, time.Second},
		{"it leads in another term", func(_ *raftTransport, l *leading) { l.term.Store(term + 1) }, time.Second},
		{"it stops", func(t *raftTransport, _ *leading) { close(t.closed) }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &leading{}
				l.term.Store(term)
				tr := &raftTransport{acks: &quorum.Acks{}, closed: make(chan struct{})}
				tr.follow(l)
				began := time.Now()
				time.AfterFunc(time.Second, func() { c.does(tr, l) })
				if back := tr.untilBack("n2", term, began); back != (c.name == "an answer") {
					t.Errorf("it is back: %v", back)
				}
				if took := time.Since(began); took < c.within || took > c.within+awayTick {
					t.Errorf("it is held for %v, want %v", took, c.within)
				}
			})
		})
	}
}
