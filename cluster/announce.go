package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// announceHold is the pause before a follower that could not be told of a
	// commit is told of the next.
	announceHold = 100 * time.Millisecond
	// farBehind is how many entries a follower lacks that cannot soon know what it
	// is told of. Raft's library warns in its log each time, so it is told no more
	// for farHold.
	farBehind = 64
	farHold   = 10 * time.Second
)

// announcer tells followers of a commit at once. Raft's own leader does so with
// the next entry, or after CommitTimeout if there is none, and a caller or a
// worker at a follower would wait for that.
//
// What it sends is Raft's own message, an AppendEntries without entries, as the
// leader itself sends after CommitTimeout. It is true whenever it arrives: term is
// that of the entry at index, so this node was the leader of that term, and the
// entry is committed. A follower of a later term refuses it, and one that does not
// have the entry does too.
type announcer struct {
	send   func(raft.Server, *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error)
	header raft.RPCHeader
	holds  *holdings
	others func() []raft.Server
	spawn  func(func())

	latest atomic.Pointer[commit]
	wake   chan struct{}

	mu    sync.Mutex
	peers map[raft.ServerID]*announced
}

// commit is an entry that is committed.
type commit struct{ index, term uint64 }

// announced is what one follower was told.
type announced struct {
	busy bool
	told uint64
	hold time.Time
}

func newAnnouncer(n *Node) *announcer {
	addr := n.transport.EncodePeer(raft.ServerID(n.cfg.Name), n.transport.LocalAddr())
	return &announcer{
		send: func(s raft.Server, req *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
			var resp raft.AppendEntriesResponse
			err := n.transport.AppendEntries(s.ID, s.Address, req, &resp)
			return &resp, err
		},
		header: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.cfg.Name), Addr: addr},
		holds:  n.holds, others: n.otherServers, spawn: n.wg.Go,
		wake: make(chan struct{}, 1), peers: map[raft.ServerID]*announced{},
	}
}

// committed notes a commit of this node's own term.
func (a *announcer) committed(index, term uint64) {
	a.latest.Store(&commit{index, term})
	signal(a.wake)
}

// run tells the followers until ctx ends. A call that a follower does not answer
// may outlive it.
func (a *announcer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.wake:
		case <-a.holds.grown:
		}
		for _, s := range a.others() {
			if a.claim(s.ID) {
				a.spawn(func() { a.tell(ctx, s) })
			}
		}
	}
}

// claim gives the right to speak to a follower, which one call has at a time, if
// there is something to say. A follower that does not have the entry yet would refuse,
// and warn in its log: it is told when it has answered to the entry itself.
func (a *announcer) claim(id raft.ServerID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.peers[id]
	if p == nil {
		p = &announced{}
		a.peers[id] = p
	}
	if p.busy || a.newer(id, p) == nil {
		return false
	}
	p.busy = true
	return true
}

// tell speaks to a follower until it knows the latest commit.
func (a *announcer) tell(ctx context.Context, s raft.Server) {
	for {
		c := a.next(ctx, s.ID)
		if c == nil {
			return
		}
		resp, err := a.send(s, &raft.AppendEntriesRequest{
			RPCHeader: a.header, Term: c.term,
			PrevLogEntry: c.index, PrevLogTerm: c.term, LeaderCommitIndex: c.index,
		})
		a.mu.Lock()
		p := a.peers[s.ID]
		switch {
		case err != nil || !resp.Success && resp.LastLog+farBehind >= c.index:
			p.hold = time.Now().Add(announceHold)
		case !resp.Success:
			p.hold = time.Now().Add(farHold)
		default:
			p.told = c.index
		}
		a.mu.Unlock()
	}
}

// next gives what a follower is to be told; nil, and the right to speak is given
// back, if there is nothing.
func (a *announcer) next(ctx context.Context, id raft.ServerID) *commit {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.peers[id]
	if c := a.newer(id, p); c != nil && ctx.Err() == nil {
		return c
	}
	p.busy = false
	return nil
}

// newer gives the latest commit if a follower can be told of it and was not. The
// caller holds mu.
func (a *announcer) newer(id raft.ServerID, p *announced) *commit {
	c := a.latest.Load()
	if c == nil || c.index <= p.told || time.Now().Before(p.hold) || a.holds.lacks(id, c.index) {
		return nil
	}
	return c
}
