package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// entryLog is what the proposer needs of Raft.
type entryLog interface {
	Apply(data []byte, timeout time.Duration) raft.ApplyFuture
}

// proposer is the one mouth of the log, for one term of this node's leadership.
// It drains the waiting commands into an entry, applies them to a head of the
// state that is ahead of the log, lets decide add to the entry what follows from
// them, and hands it to Raft while earlier entries are still in flight.
//
// Any error of a future means that its outcome is unknown, so the head is worth
// nothing: the term's duties end, and with them this proposer.
type proposer struct {
	log    entryLog
	queue  *commandQueue
	head   *fsm.Machine
	view   fsm.View // of head itself, not frozen
	clock  *clusterClock
	decide func(fsm.View, fsm.Instant) []fsm.Command

	slots    chan struct{} // one per entry in flight
	inFlight chan proposal // in order
	// early is told what was proposed before it is committed, by a deliberate bug.
	early func(head *fsm.Machine, out fsm.Outcome)
	// proposed is the instant of the newest entry given to Raft: what a
	// linearizable read has to wait for.
	proposed atomic.Int64
}

// proposal is an entry in flight.
type proposal struct {
	future raft.ApplyFuture
	cmds   []fsm.Command // those of callers
	seq    fsm.Seq       // lastSeq of the speculated results
}

// errSpeculation: the committed entry gave other results than the head did.
const errSpeculation = sentinelError("a committed entry gave another result than on the leader's head")

// newProposer takes over head, which must be the state after everything that
// was ever committed.
func newProposer(log entryLog, head *fsm.Machine, clock *clusterClock, decide func(fsm.View, fsm.Instant) []fsm.Command, maxWaiting int) *proposer {
	p := &proposer{
		log: log, queue: newCommandQueue(maxWaiting), head: head, view: head.Peek(), clock: clock, decide: decide,
		slots: make(chan struct{}, maxInFlight), inFlight: make(chan proposal, maxInFlight),
	}
	p.proposed.Store(int64(head.Stamp().Instant))
	return p
}

// run proposes until ctx ends.
func (p *proposer) run(ctx context.Context) error {
	look := true // the state that the term starts with was not decided on yet
	for {
		if !look {
			if err := p.wait(ctx); err != nil {
				return err
			}
		}
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var err error
		if look, err = p.step(look); err != nil {
			return err
		}
	}
}

// wait returns when there are commands or a deadline is due.
func (p *proposer) wait(ctx context.Context) error {
	if !p.queue.empty() {
		return nil
	}
	var due <-chan time.Time
	if next, ok := p.view.NextDeadline(); ok {
		timer := time.NewTimer(next.Sub(p.clock.now()))
		defer timer.Stop()
		due = timer.C
	}
	for {
		select {
		case <-p.queue.wake:
			if !p.queue.empty() {
				return nil
			}
		case <-due:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// step makes and proposes one entry, unless there is no reason for one, in
// which case it gives the slot back. more asks to be called again at once.
func (p *proposer) step(look bool) (more bool, err error) {
	cmds := p.queue.take()
	if len(cmds) == 0 && !p.due() && (!look || len(p.decided(p.clock.now())) == 0) {
		<-p.slots
		return false, nil
	}
	stamp := p.clock.stamp()
	p.head.Begin(stamp)
	out := p.head.ApplyCommands(cmds)
	results := out.Results
	p.view = p.head.Peek()
	added := p.decided(stamp.Instant)
	if len(added) > 0 {
		rest := p.head.ApplyCommands(added)
		results, out.Effects = append(results, rest.Results...), append(out.Effects, rest.Effects...)
	}
	entry := fsm.Entry{Stamp: stamp, Commands: append(slices.Clip(cmds), added...)}
	data, err := entry.Encode()
	if err != nil {
		return false, fmt.Errorf("propose %d commands: %w", len(entry.Commands), err)
	}
	p.proposed.Store(int64(stamp.Instant))
	p.inFlight <- proposal{future: p.log.Apply(data, 0), cmds: cmds, seq: lastSeq(results)}
	if bugs.On(bugs.AckEarly) || bugs.On(bugs.AssignEarly) {
		p.early(p.head, out)
	}
	return len(added) >= FullPass, nil
}

func (p *proposer) due() bool {
	next, ok := p.view.NextDeadline()
	return ok && next <= p.clock.now()
}

func (p *proposer) decided(now fsm.Instant) []fsm.Command {
	if p.decide == nil {
		return nil
	}
	return p.decide(p.view, now)
}

// collect waits for the entries in flight, in order. Its error is the end of
// the term's duties.
func (p *proposer) collect(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-p.inFlight:
			if err := e.future.Error(); err != nil {
				return fmt.Errorf("commit an entry: %w", err)
			}
			if seq, ok := e.future.Response().(fsm.Seq); ok && seq != e.seq {
				return fmt.Errorf("%w: seq %d, not %d", errSpeculation, seq, e.seq)
			}
			p.queue.forget(e.cmds)
			<-p.slots
		}
	}
}
