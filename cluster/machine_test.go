package cluster

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/fsm"
)

// A snapshot that lay in the network for longer than its sender waited took the
// state back, under reads that were already answered.
func TestAnOlderSnapshotIsNotRestored(t *testing.T) {
	f := newMachine(time.Now)
	f.onResults, f.onEffects, f.onRestore = func([]fsm.Result) {}, func([]fsm.Effect) {}, func() {}
	f.fatal = func(err error) { t.Error(err) }
	apply := func(index uint64, cmd fsm.Command) {
		data, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: fsm.Instant(index)}, Commands: []fsm.Command{cmd}}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.ApplyBatch([]*raft.Log{{Index: index, Data: data}})
	}
	take := func() *memorySink {
		s, err := f.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &memorySink{}
		if err := s.Persist(sink); err != nil {
			t.Fatal(err)
		}
		return sink
	}
	apply(1, bootstrap())
	older := take()
	apply(2, register(1))
	same, hash := take(), f.state().view.Hash()
	if err := f.Restore(io.NopCloser(older)); !errors.Is(err, errOlder) || f.state().view.Hash() != hash {
		t.Errorf("an older snapshot: %v; the state has changed: %v", err, f.state().view.Hash() != hash)
	}
	if err := f.Restore(io.NopCloser(same)); err != nil || f.state().view.Hash() != hash {
		t.Errorf("the same once more: %v; the state has changed: %v", err, f.state().view.Hash() != hash)
	}
}
