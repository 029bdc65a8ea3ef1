package cluster

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/quorum"
)

// raftTransport is Raft's own transport, with pipelines that cannot block, with a
// note of each heartbeat that was answered, with calls that fail seldom while a node
// is away (see untilBack), and with a short way for heartbeats that changes nothing
// in Raft.
//
// Raft's own short way handles a heartbeat beside its main goroutine. If that is of
// a new term, it changes state and term under the hands of the main goroutine, which
// may count votes, or lead, at that moment: a node could lead in a term that it has
// not won. So here only such heartbeats are answered at once that find a follower
// of their own term, and Raft's main goroutine gets them besides, when it has time;
// all others wait for it.
type raftTransport struct {
	*raft.NetworkTransport

	acks  *quorum.Acks
	holds *holdings
	dead  <-chan struct{} // closed when the node's disk is given up
	// patience is how long another node has to take the leadership over.
	patience time.Duration
	// hangUp breaks off what others send of which nothing came since a moment.
	hangUp func(since time.Time)

	node   atomic.Pointer[follower]
	latest atomic.Pointer[time.Time] // when a heartbeat was answered at once
	calls  chan raft.RPC
	closed chan struct{}
	once   sync.Once
}

// follower is what a short answer needs to know of Raft.
type follower interface {
	State() raft.RaftState
	CurrentTerm() uint64
	LastIndex() uint64
}

// newRaftTransport wraps one; Close ends it and what is inside.
func newRaftTransport(inner *raft.NetworkTransport, a *quorum.Acks, h *holdings, dead <-chan struct{}, patience time.Duration, hangUp func(time.Time)) *raftTransport {
	t := &raftTransport{
		NetworkTransport: inner, acks: a, holds: h, dead: dead, patience: patience, hangUp: hangUp, calls: make(chan raft.RPC), closed: make(chan struct{}),
	}
	inner.SetHeartbeatHandler(t.heartbeat)
	go t.pump()
	return t
}

// follow says who answers, from now on.
func (t *raftTransport) follow(f follower) { t.node.Store(&f) }

// heard is when a heartbeat was answered at once, or zero. Raft's own note of its
// leader's latest word stands still while its main goroutine is at work.
func (t *raftTransport) heard() time.Time {
	if at := t.latest.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// pump hands the calls of other nodes on.
func (t *raftTransport) pump() {
	for {
		select {
		case c := <-t.NetworkTransport.Consumer():
			t.hand(c)
		case <-t.closed:
			return
		}
	}
}

// hand gives Raft's main goroutine a call.
func (t *raftTransport) hand(c raft.RPC) {
	if isClosed(t.dead) { // Raft may have ended, or looks alive and can store nothing
		c.Respond(nil, ErrDisk)
		return
	}
	if c.Reader != nil {
		c.Reader = &stream{c.Reader, t.hangUp}
	}
	select {
	case t.calls <- c:
	case <-t.dead:
		c.Respond(nil, ErrDisk)
	case <-t.closed:
		c.Respond(nil, raft.ErrTransportShutdown)
	}
}

// heartbeat answers one in the name of a follower, or has Raft answer it.
//
// The term is Raft's before it votes in a later one. So the answer means what Raft's
// own would: until now this node has helped to elect nobody after that leader.
func (t *raftTransport) heartbeat(c raft.RPC) {
	beat, ok := c.Command.(*raft.AppendEntriesRequest)
	f := t.node.Load()
	if !ok || f == nil || isClosed(t.dead) || (*f).State() != raft.Follower || (*f).CurrentTerm() != beat.Term {
		t.hand(c)
		return
	}
	c.Respond(&raft.AppendEntriesResponse{
		RPCHeader: raft.RPCHeader{ProtocolVersion: beat.ProtocolVersion}, Term: beat.Term, LastLog: (*f).LastIndex(), Success: true,
	}, nil)
	now := time.Now()
	t.latest.Store(&now)
	seen := c
	seen.RespChan = make(chan raft.RPCResponse, 1) // nobody waits for that
	select {
	case t.calls <- seen:
	default: // it is at work: an append or a snapshot counts as a contact at its end
	}
}

// TimeoutNow implements raft.Transport. It does not wait for long: until it ends,
// Raft refuses everything as handing over, and a node that is cut off does not
// answer.
func (t *raftTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	answer := make(chan error, 1)
	theirs := *resp // it may come when nobody waits for it any more
	go func() { answer <- t.NetworkTransport.TimeoutNow(id, target, args, &theirs) }()
	limit := time.NewTimer(t.patience)
	defer limit.Stop()
	select {
	case err := <-answer:
		*resp = theirs
		return err //nolint:wrapcheck // Raft's own
	case <-limit.C:
		return errNoHeir
	}
}

// SetHeartbeatHandler implements raft.Transport: Raft's own is not used.
func (*raftTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// Consumer implements raft.Transport.
func (t *raftTransport) Consumer() <-chan raft.RPC { return t.calls }

// Close implements raft.WithClose.
func (t *raftTransport) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.NetworkTransport.Close()
}

// AppendEntries implements raft.Transport. All heartbeats go this way.
func (t *raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.appendEntries(id, target, args, resp)
	if err != nil && !isHeartbeat(args) && t.untilBack(id, args.Term, time.Now()) {
		*resp = raft.AppendEntriesResponse{}
		return t.appendEntries(id, target, args, resp)
	}
	return err
}

func (t *raftTransport) appendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	asked := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err != nil {
		return err //nolint:wrapcheck // Raft's own
	}
	if !resp.Success || resp.Term != args.Term {
		t.acks.Heard(id, asked)
		return nil
	}
	t.acks.Note(id, asked, args.Term)
	t.holds.note(id, args, resp)
	return nil
}

// InstallSnapshot implements raft.Transport.
func (t *raftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
	if err != nil {
		t.untilBack(id, args.Term, time.Now())
	}
	return err //nolint:wrapcheck // Raft's own
}

// AppendEntriesPipeline implements raft.Transport.
func (t *raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(p, func(f raft.AppendFuture) { t.holds.note(id, f.Request(), f.Response()) }), nil
}
