package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

const (
	// readRetry is the pause before a leader is looked for again.
	readRetry = 25 * time.Millisecond
	// readWait bounds the wait for an entry: it may have been lost with its
	// leader, and then it never comes.
	readWait = time.Second
)

// Barrier returns once this node has applied all that was committed when it was
// called: a read of View after it is linearizable. Its error wraps
// ErrUnavailable.
func (n *Node) Barrier(ctx context.Context) error {
	if bugs.On(bugs.StaleRead) {
		return nil
	}
	var last error
	for {
		instant, err := n.readIndex(ctx)
		if err == nil {
			wait, cancel := context.WithTimeout(ctx, readWait)
			err = n.machine.wait(wait, instant)
			cancel()
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("barrier: %w: %w", ErrUnavailable, context.Cause(ctx)), last)
		case <-n.ctx.Done():
			return fmt.Errorf("barrier: %w", ErrClosed)
		case <-time.After(readRetry):
		}
	}
}

// readIndex asks the leader for the instant of the newest entry that a read has
// to see.
func (n *Node) readIndex(ctx context.Context) (fsm.Instant, error) {
	if n.current.Load() != nil {
		return n.localReadIndex(ctx)
	}
	conn := n.leaderConn(ctx)
	if conn == nil {
		return 0, errNotLeader
	}
	ask, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	f, err := conn.call(ask, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_ReadIndexRequest{ReadIndexRequest: &limpetv1.ReadIndexRequest{}}})
	if err != nil {
		return 0, fmt.Errorf("ask the leader for the read index: %w", err)
	}
	switch a := f.GetReadIndexAnswer(); {
	case a == nil:
		return 0, errors.New("the leader's build does not know this request")
	case a.GetError() != "":
		return 0, errors.New(a.GetError())
	default:
		return fsm.Instant(a.GetInstant()), nil
	}
}

// localReadIndex is the leader's side. The instant is read before the leadership
// is verified: a write that was answered before this call has an instant that is
// not later, and no other leader can have committed one by then. An entry that
// is proposed and not yet committed is waited for too, which does no harm.
func (n *Node) localReadIndex(ctx context.Context) (fsm.Instant, error) {
	r := n.current.Load()
	if r == nil {
		return 0, errNotLeader
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	began := time.Now()
	instant := fsm.Instant(r.proposer.proposed.Load())
	// This sends heartbeats at once. Its own answer is not waited for: it may come from
	// before, or never, if Raft is shut down in that moment.
	n.raft.VerifyLeader()
	for n.current.Load() == r {
		sure, changed := n.acks.Confirm(raft.ServerID(n.cfg.Name), n.servers(), r.term, began)
		if sure {
			return instant, nil
		}
		select {
		case <-changed:
		case <-r.over:
			return 0, errNotLeader
		case <-ctx.Done():
			return 0, fmt.Errorf("verify leadership: %w", context.Cause(ctx))
		}
	}
	return 0, errNotLeader
}
