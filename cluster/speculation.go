package cluster

import (
	"errors"
	"fmt"
	"sync"

	"github.com/limpet-dev/limpet/fsm"
)

// speculation is what the leader's head gave for an entry before it was
// proposed. When the entry is committed, and the state is the one that the head
// had before it, the leader takes this over instead of applying the entry once
// more: the machine is deterministic.
type speculation struct {
	data    []byte      // the entry, as it was given to Raft
	from    fsm.Instant // the stamp of the state before it
	view    fsm.View    // the state after it
	outcome fsm.Outcome
}

// speculations are those of the entries in flight, in order. Raft gives the
// leader's machine the very bytes that it was given, so an entry is known by
// where its bytes lie; one that comes from the disk or from another leader is not.
type speculations struct {
	mu   sync.Mutex
	list []speculation
}

// speculate notes what an entry will give.
func (f *machine) speculate(s speculation) {
	f.guesses.mu.Lock()
	defer f.guesses.mu.Unlock()
	f.guesses.list = append(f.guesses.list, s)
}

// forgetSpeculations drops them at the end of a reign: what is committed later is
// applied.
func (f *machine) forgetSpeculations() {
	f.guesses.mu.Lock()
	defer f.guesses.mu.Unlock()
	f.guesses.list = nil
}

// take gives the speculation on an entry, and drops those before it.
func (g *speculations) take(data []byte) (speculation, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.list {
		if len(data) > 0 && len(g.list[i].data) == len(data) && &g.list[i].data[0] == &data[0] {
			s := g.list[i]
			g.list = g.list[i+1:]
			return s, true
		}
	}
	return speculation{}, false
}

// errNotSo: the state that was speculated is not what applying gives.
var errNotSo = errors.New("an entry that was applied gave another state than on the leader's head: the state machine is not deterministic")

// applyEntry applies an entry, or takes over what was speculated on it. The caller
// holds mu.
func (f *machine) applyEntry(data []byte) (fsm.Outcome, error) {
	s, ok := f.guesses.take(data)
	ok = ok && s.from == f.stamp().Instant
	if ok && !f.check {
		f.ahead = &s
		return s.outcome, nil
	}
	e, err := f.packer.Decode(data)
	if err != nil {
		return fsm.Outcome{}, err
	}
	out := f.machine().Apply(e)
	if ok {
		if got, want := f.m.View().Hash(), s.view.Hash(); got != want || len(out.Effects) != len(s.outcome.Effects) {
			return fsm.Outcome{}, fmt.Errorf("%w: hash %x, not %x", errNotSo, got, want)
		}
	}
	return out, nil
}

// machine gives the state as one that can be changed. The caller holds mu.
func (f *machine) machine() *fsm.Machine {
	if f.ahead != nil {
		f.m, f.ahead = f.ahead.view.Fork(), nil
	}
	return f.m
}

// view is the state, frozen. The caller holds mu.
func (f *machine) view() fsm.View {
	if f.ahead != nil {
		return f.ahead.view
	}
	return f.m.View()
}

// stamp is that of the newest entry. The caller holds mu.
func (f *machine) stamp() fsm.Stamp {
	if f.ahead != nil {
		return fsm.Stamp{Instant: f.ahead.view.Now(), Wall: f.ahead.view.Wall()}
	}
	return f.m.Stamp()
}
