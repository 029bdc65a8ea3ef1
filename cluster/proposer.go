package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/pace"
	"github.com/limpet-dev/limpet/cluster/pack"
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
	decide func(*fsm.Draft) // may be nil
	load   *saturation
	// applied gives the state that is committed, frozen.
	applied func() fsm.View
	// ahead is told what an entry gives before it is proposed; may be nil.
	ahead func(speculation)

	// committed is told of each entry that is committed while no later one is in
	// flight; may be nil.
	committed func(index uint64)

	slots    chan struct{} // one per entry in flight
	freed    chan struct{} // capacity 1: an entry is no longer in flight
	inFlight chan proposal // in order
	// early is told what was proposed before it is committed, by a deliberate bug.
	early func(head *fsm.Machine, out fsm.Outcome)
	// proposed is the instant of the newest entry given to Raft: what a
	// linearizable read has to wait for.
	proposed atomic.Int64
	pacer    *pace.Pacer
	packer   pack.Packer
}

// proposal is an entry in flight.
type proposal struct {
	future raft.ApplyFuture
	batch  batch   // what came from callers
	seq    fsm.Seq // lastSeq of the speculated results
	at     time.Time
}

// errSpeculation: the committed entry gave other results than the head did.
const errSpeculation = sentinelError("a committed entry gave another result than on the leader's head")

// newProposer takes over head, which must be the state after everything that
// was ever committed.
func newProposer(log entryLog, head *fsm.Machine, clock *clusterClock, decide func(*fsm.Draft), maxWaiting int) *proposer {
	p := &proposer{
		log: log, queue: newCommandQueue(maxWaiting), head: head, view: head.Peek(), clock: clock, decide: decide,
		load:  newSaturation(head.Peek().Counts(), time.Now()),
		slots: make(chan struct{}, maxInFlight), freed: make(chan struct{}, 1), inFlight: make(chan proposal, maxInFlight),
	}
	start := head.View()
	p.applied = func() fsm.View { return start }
	p.proposed.Store(int64(head.Stamp().Instant))
	p.pacer = pace.New()
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
		if err := p.gather(ctx); err != nil {
			return err
		}
		p.slots <- struct{}{} // there is room: only this goroutine takes any
		var err error
		if look, err = p.step(look); err != nil {
			return err
		}
	}
}

// gather returns when the next entry should be made: at once if none is in flight;
// else when the oldest is committed, or a large entry has come together. What comes
// meanwhile shares an entry. Each entry costs all nodes a write to disk and several
// messages, whatever is in it, so many small ones are the dearest way of all.
func (p *proposer) gather(ctx context.Context) error {
	for len(p.slots) > 0 && (len(p.slots) == maxInFlight || !p.queue.large()) {
		select {
		case <-p.freed:
		case <-p.queue.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.linger(ctx)
}

// linger waits for the company that the pacer expects.
func (p *proposer) linger(ctx context.Context) error {
	want, wait := p.pacer.Want()
	if want == 0 || len(p.slots) > 0 || p.queue.empty() {
		return nil
	}
	var over <-chan time.Time
	for p.queue.len() < want {
		if over == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-p.queue.wake:
		case <-over:
			p.pacer.Came(false)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.pacer.Came(true)
	return nil
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
	b := p.queue.take()
	if len(b.cmds) == 0 && !p.due() && (!look || !p.wanted()) {
		<-p.slots
		return false, nil
	}
	from := p.head.Stamp().Instant
	stamp := p.clock.stamp()
	draft := p.head.Draft(stamp)
	draft.AddEncoded(b.cmds, b.data)
	if p.decide != nil {
		p.decide(draft)
	}
	data, err := p.packer.Encode(draft.Entry())
	if err != nil {
		return false, fmt.Errorf("propose %d commands: %w", draft.Len(), err)
	}
	b.data = nil // it is in the entry
	out := draft.Outcome()
	p.load.drafted(endsIn(out.Effects), b.oldest, p.view.Counts(), time.Now())
	if p.ahead != nil {
		p.ahead(speculation{data: data, from: from, view: p.head.View(), outcome: out})
	}
	p.proposed.Store(int64(stamp.Instant))
	p.inFlight <- proposal{future: p.log.Apply(data, 0), batch: b, seq: lastSeq(out.Results), at: time.Now()}
	if bugs.On(bugs.AckEarly) || bugs.On(bugs.AssignEarly) {
		p.early(p.head, out)
	}
	return draft.Len()-len(b.cmds) >= FullPass, nil
}

// wanted reports whether there is something to decide, without deciding it.
func (p *proposer) wanted() bool {
	if p.decide == nil {
		return false
	}
	draft := p.head.Clone().Draft(fsm.Stamp{Instant: p.clock.now(), Wall: p.head.Stamp().Wall})
	p.decide(draft)
	return draft.Len() > 0
}

func (p *proposer) due() bool {
	next, ok := p.view.NextDeadline()
	return ok && next <= p.clock.now()
}

// collect waits for the entries in flight, in order. Its error is the end of
// the term's duties.
func (p *proposer) collect(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-p.inFlight:
			if err := awaitFuture(ctx, e.future); err != nil {
				return fmt.Errorf("commit an entry: %w", err)
			}
			if seq, ok := e.future.Response().(fsm.Seq); ok && seq != e.seq {
				return fmt.Errorf("%w: seq %d, not %d", errSpeculation, seq, e.seq)
			}
			if p.committed != nil && len(p.inFlight) == 0 {
				p.committed(e.future.Index())
			}
			p.pacer.Committed(len(e.batch.cmds), p.queue.len(), time.Since(e.at))
			p.queue.forget(e.batch.cmds)
			e.batch.answered(p.load, time.Now())
			<-p.slots
			signal(p.freed)
		}
	}
}
