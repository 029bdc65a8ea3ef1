package smooth

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

var errFickle = errors.New("input/output error")

// syncs counts, and fails if it is told to.
type syncs struct {
	n      int
	err    error
	closed bool
}

func (s *syncs) Sync() error { s.n++; return s.err }

func (s *syncs) Close() error {
	if s.closed {
		return errors.New("closed twice")
	}
	s.closed = true
	return nil
}

// open opens a snapshot in a real store. It fails where raft keeps the file
// elsewhere than Store looks for it.
func open(t *testing.T) (Store, *sink, *syncs) {
	t.Helper()
	dir := t.TempDir()
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	store := Store{files, dir}
	_, trans := raft.NewInmemTransport("")
	to, err := store.Create(1, 7, 2, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	smooth, ok := to.(*sink)
	if !ok {
		t.Fatalf("the file of %T was not found", to)
	}
	if err := smooth.file.Close(); err != nil {
		t.Fatal(err)
	}
	s := &syncs{}
	smooth.file = s
	return store, smooth, s
}

func TestALargeSnapshotGoesToTheDiskBitByBit(t *testing.T) {
	store, sink, s := open(t)
	part, wrote := bytes.Repeat([]byte("x"), 1<<20), 0
	for range 20 {
		n, err := sink.Write(part)
		if err != nil {
			t.Fatal(err)
		}
		wrote += n
	}
	if s.n != 2 {
		t.Errorf("%d syncs of 20 MiB, want 2", s.n)
	}
	for range 2 { // as raft does
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !s.closed {
		t.Error("the file is open still")
	}
	list, err := store.List()
	if err != nil || len(list) != 1 || list[0].Index != 7 {
		t.Fatalf("snapshots: %v, %v", list, err)
	}
	_, in, err := store.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	if n, err := io.Copy(io.Discard, in); err != nil || int(n) != wrote {
		t.Errorf("%d bytes of %d came back, %v", n, wrote, err)
	}
}

func TestASnapshotWhoseDiskFailsIsNone(t *testing.T) {
	store, sink, s := open(t)
	s.err = errors.New("no such luck")
	if _, err := sink.Write(make([]byte, every)); !errors.Is(err, s.err) {
		t.Errorf("the failure of the sync is lost: %v", err)
	}
	if err := sink.Cancel(); err != nil {
		t.Fatal(err)
	}
	if list, err := store.List(); err != nil || len(list) != 0 {
		t.Errorf("snapshots: %v, %v", list, err)
	}
}

// unfit is a sink that ends as raft's does on a full disk: without a trace in the
// list, and with all that it wrote still there.
type unfit struct{ raft.SnapshotSink }

func (unfit) Close() error  { return errFickle }
func (unfit) Cancel() error { return errFickle }

// Each try left its bytes on a disk that was full already, until the log had no room.
func TestASnapshotThatFailsOnAFullDiskLeavesNothing(t *testing.T) {
	for how, end := range map[string]func(raft.SnapshotSink) error{"close": raft.SnapshotSink.Close, "cancel": raft.SnapshotSink.Cancel} {
		t.Run(how, func(t *testing.T) {
			store, sink, _ := open(t)
			sink.SnapshotSink = unfit{sink.SnapshotSink}
			if err := end(sink); !errors.Is(err, errFickle) {
				t.Errorf("it ended with %v", err)
			}
			if left, err := os.ReadDir(filepath.Join(store.Dir, snapshotDir)); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// So did a process that was killed.
func TestUnfinishedSnapshotsAreRemovedAtTheStart(t *testing.T) {
	store, sink, _ := open(t)
	if err := Sweep(store.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(sink.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", sink.dir, err)
	}
}
