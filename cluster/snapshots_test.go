package cluster

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/cluster/pack"
	"github.com/limpet-dev/limpet/fsm"
)

func TestALongSnapshotIsNotWrittenAgainForALittleLog(t *testing.T) {
	const mib = 1 << 20
	c := &RaftConfig{SnapshotThreshold: 8192, SnapshotBytes: 64 * mib}
	for _, x := range []struct {
		name                   string
		latest, bytes, entries uint64
		wantEntries, wantBytes bool
	}{
		{"nothing yet", 0, 0, 0, false, false},
		{"entries, no snapshot yet", 0, mib, 8192, true, false},
		{"bytes, no snapshot yet", 0, 64 * mib, 100, false, true},
		{"a short snapshot changes nothing", 64 * mib, 64 * mib, 8191, false, true},
		{"a long one: too little log", 1024 * mib, 1023 * mib, 8192, false, false},
		{"a long one: as much log", 1024 * mib, 1024 * mib, 131071, false, true},
		{"a long one: many entries", 1024 * mib, mib, 131072, true, false},
	} {
		var l logged
		l.latest.Store(x.latest)
		l.bytes.Store(x.bytes)
		l.entries.Store(x.entries)
		if entries, bytes := l.due(c, 1); entries != x.wantEntries || bytes != x.wantBytes {
			t.Errorf("%s: due by entries %v, by bytes %v; want %v, %v", x.name, entries, bytes, x.wantEntries, x.wantBytes)
		}
	}
}

// All nodes of a cluster wrote their snapshots in the same second: they apply the same
// log.
func TestNodesSeldomWriteTheirSnapshotsAtOnce(t *testing.T) {
	c := &RaftConfig{SnapshotThreshold: 8192, SnapshotBytes: 64 << 20}
	const nodes, seconds, entriesPerSecond = 3, 24 * 3600, 200
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	var logs [nodes]logged
	var factors [nodes]float64
	for n := range factors {
		factors[n] = spread(r.Float64())
	}
	written, together := 0, 0
	for range seconds {
		now := 0
		for n := range logs {
			for range entriesPerSecond {
				logs[n].add(100)
			}
			if entries, _ := logs[n].due(c, factors[n]); entries {
				logs[n].reset()
				factors[n] = spread(r.Float64())
				now++
			}
		}
		written += now
		if now > 1 {
			together += now
		}
	}
	if least := nodes * seconds * entriesPerSecond / (2 * 8192); written < least || together > written/10 {
		t.Errorf("%d were written, %d of them in the second of another; want %d at least, and a tenth at most", written, together, least)
	}
}

// When the next one is due goes by the length unpacked, whether a snapshot was written
// here or came from elsewhere.
func TestTheLengthOfASnapshotIsKnown(t *testing.T) {
	from, to := newMachine(time.Now), newMachine(time.Now)
	to.onRestore = func() {}
	var plain strings.Builder
	if err := from.state().view.WriteSnapshot(&plain); err != nil {
		t.Fatal(err)
	}
	s, err := from.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink memorySink
	if err := s.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	if err := to.Restore(io.NopCloser(&sink)); err != nil {
		t.Fatal(err)
	}
	want := uint64(plain.Len())
	if got, restored := from.logged.latest.Load(), to.logged.latest.Load(); want == 0 || got != want || restored != want {
		t.Errorf("%d bytes: %d counted when written, %d when read", want, got, restored)
	}
}

// fullSink takes nothing.
type fullSink struct {
	memorySink

	cancelled bool
}

func (*fullSink) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func (s *fullSink) Cancel() error {
	s.cancelled = true
	return nil
}

func TestASnapshotThatCannotBeWrittenIsNotKept(t *testing.T) {
	s, err := newMachine(time.Now).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink fullSink
	if err := s.Persist(&sink); !errors.Is(err, syscall.ENOSPC) || !sink.cancelled {
		t.Errorf("Persist gives %v; the sink was cancelled: %v", err, sink.cancelled)
	}
}

func TestASnapshotIsReadPackedAndNot(t *testing.T) {
	bed := fsm.NewMachine()
	bed.Apply(&fsm.Entry{Stamp: fsm.Stamp{Instant: 1}, Commands: []fsm.Command{bootstrap(), register(1), register(2), register(3), register(4), register(5)}})
	var plain, packed bytes.Buffer
	if err := bed.View().WriteSnapshot(&plain); err != nil {
		t.Fatal(err)
	}
	w := pack.Snapshot(&packed)
	if err := errors.Join(bed.View().WriteSnapshot(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	want := bed.View().Hash()
	for name, b := range map[string][]byte{"packed": packed.Bytes(), "not packed": plain.Bytes()} {
		m, err := fsm.ReadSnapshot(pack.ReadSnapshot(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := m.View().Hash(); got != want {
			t.Errorf("%s: hash %x, want %x", name, got, want)
		}
	}
	if 2*packed.Len() > plain.Len() {
		t.Errorf("%d bytes were packed into %d", plain.Len(), packed.Len())
	}
	for i := range packed.Bytes() {
		damaged := bytes.Clone(packed.Bytes())
		damaged[i]++
		if m, err := fsm.ReadSnapshot(pack.ReadSnapshot(bytes.NewReader(damaged))); err == nil && m.View().Hash() != want {
			t.Fatalf("with another byte %d it is read, as another state", i)
		}
		if _, err := fsm.ReadSnapshot(pack.ReadSnapshot(bytes.NewReader(packed.Bytes()[:i]))); err == nil {
			t.Fatalf("the first %d bytes of it are read", i)
		}
	}
}
