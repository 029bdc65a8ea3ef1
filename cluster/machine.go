package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/pack"
	"github.com/limpet-dev/limpet/fsm"
)

// applied is the state after the newest entry, and where in the log that was.
type applied struct {
	view  fsm.View
	index uint64 // raft index of the newest entry; 0 if it came in a snapshot
	// stamp is the entry's, and at when this node applied it, on its own clock.
	stamp fsm.Stamp
	at    time.Time

	once sync.Once
	sum  uint64
}

// hash is the state's, computed when first asked for.
func (a *applied) hash() uint64 {
	a.once.Do(func() { a.sum = a.view.Hash() })
	return a.sum
}

// machine is the raft.FSM around the fsm.Machine: it decodes, applies, publishes
// the view, and then tells the waiting callers and the sink.
type machine struct {
	// onResults is called with the results of a batch after its view is
	// published; onRestore after a snapshot took the place of the state.
	onResults func([]fsm.Result)
	onEffects func([]fsm.Effect)
	onRestore func()
	// onForgotten takes the finished runs that have left the state, before its
	// view is published; onSnapshot sees to it that they are on disk, before a
	// snapshot is written. Either may be nil.
	onForgotten func([]*fsm.Archived)
	onSnapshot  func()
	// onApplied is called after each entry; may be nil.
	onApplied func(index, term uint64, entry *fsm.Entry, state fsm.View)
	fatal     func(error)
	mono      func() time.Time

	// check is Config.CheckSpeculation.
	check bool

	mu     sync.Mutex // guards the rest: raft applies, a new leader clones
	m      *fsm.Machine
	ahead  *speculation // m is behind it: its state is what is true
	broken error        // why nothing more is applied

	guesses speculations
	packer  pack.Packer

	now    atomic.Pointer[applied]
	logged logged

	waitMu sync.Mutex
	moved  chan struct{} // closed at the next publication; nil if nobody waits
}

// newMachine makes an empty one; mono is the clock that says when it applied what.
func newMachine(mono func() time.Time) *machine {
	f := &machine{m: fsm.NewMachine(), mono: mono}
	f.now.Store(&applied{view: f.m.View(), at: f.mono()})
	return f
}

// Apply implements raft.FSM; raft uses ApplyBatch.
func (f *machine) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answer to an entry is its lastSeq,
// by which the proposer checks its speculation.
func (f *machine) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := make([]any, len(logs))
	var results []fsm.Result
	var effects []fsm.Effect
	var last uint64
	for i, l := range logs {
		if l.Type != raft.LogCommand || f.broken != nil {
			continue
		}
		out, err := f.applyEntry(l.Data)
		if err != nil {
			f.broken = fmt.Errorf("entry %d of the log: %w", l.Index, err)
			f.fatal(f.broken)
			continue
		}
		if f.onForgotten != nil && len(out.Forgotten) > 0 {
			f.onForgotten(out.Forgotten)
		}
		if results == nil { // mostly there is one entry
			results, effects = out.Results, out.Effects
		} else {
			results, effects = append(results, out.Results...), append(effects, out.Effects...)
		}
		last, answers[i] = l.Index, lastSeq(out.Results)
		f.logged.add(pack.EntrySize(l.Data))
		if f.onApplied != nil {
			f.tellApplied(l)
		}
	}
	if last == 0 {
		return answers
	}
	f.publish(last)
	f.onResults(results)
	f.onEffects(effects)
	return answers
}

// tellApplied passes an entry on to who watches the log.
func (f *machine) tellApplied(l *raft.Log) {
	if e, err := f.packer.Decode(l.Data); err == nil { // it was applied, so it can be read
		f.onApplied(l.Index, l.Term, e, f.view())
	}
}

// lastSeq is the Seq of the last result; 0 if there is none.
func lastSeq(results []fsm.Result) fsm.Seq {
	if len(results) == 0 {
		return 0
	}
	return results[len(results)-1].Seq
}

// publish makes the state visible. The caller holds mu.
func (f *machine) publish(index uint64) {
	f.now.Store(&applied{view: f.view(), index: index, stamp: f.stamp(), at: f.mono()})
	f.waitMu.Lock()
	defer f.waitMu.Unlock()
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// state is the newest published state.
func (f *machine) state() *applied { return f.now.Load() }

// clone gives a head to speculate on.
func (f *machine) clone() *fsm.Machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machine().Clone()
}

// wait returns once the entry of that cluster time is applied. Stamps grow
// strictly, so an instant names one entry.
func (f *machine) wait(ctx context.Context, until fsm.Instant) error {
	for {
		f.waitMu.Lock()
		if f.state().stamp.Instant >= until {
			f.waitMu.Unlock()
			return nil
		}
		if f.moved == nil {
			f.moved = make(chan struct{})
		}
		moved := f.moved
		f.waitMu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Snapshot implements raft.FSM. It costs nothing: the view is frozen.
func (f *machine) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, fmt.Errorf("no snapshot of a stopped machine: %w", f.broken)
	}
	f.logged.reset()
	return snapshot{f.machine().View(), f.onSnapshot, &f.logged}, nil
}

// errOlder says that a snapshot is of a time before the state.
const errOlder = sentinelError("the snapshot is older than the state")

// Restore implements raft.FSM. Commands of this node may have been applied in
// what the snapshot skips, so their callers' commands are sent again.
//
// A snapshot that lay in the network while a later one came would take the state
// back, and with it the configuration: Raft looks at its term only. What is
// applied is committed, so no other snapshot can be older.
func (f *machine) Restore(rc io.ReadCloser) error {
	in := &counted{Reader: pack.ReadSnapshot(rc)}
	m, err := fsm.ReadSnapshot(in)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if err := rc.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Stamp().Instant < f.stamp().Instant {
		return errOlder
	}
	f.m, f.ahead = m, nil
	f.logged.reset()
	f.logged.latest.Store(in.bytes)
	f.publish(0)
	f.onRestore()
	return nil
}

// snapshot writes a frozen view while the machine goes on.
type snapshot struct {
	view   fsm.View
	before func()
	logged *logged
}

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if s.before != nil {
		s.before()
	}
	packed := pack.Snapshot(sink)
	out := &counted{Writer: packed}
	if err := errors.Join(s.view.WriteSnapshot(out), packed.Close()); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	s.logged.latest.Store(out.bytes)
	return nil
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}
