package sim

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/journal"
)

var errDisk = errors.New("no space left on device")

// disk is what a node keeps over the end of its process.
type disk struct {
	logs   *raft.InmemStore
	stable *raft.InmemStore
	// journals are the files before logs.
	journals [journal.Files][]byte // guarded by mu

	mu    sync.Mutex
	snaps []*snap
	ill   trouble
	dead  chan struct{} // closed when the process that has it open dies
}

// trouble is what is wrong with a disk.
type trouble struct {
	delay time.Duration // of each write
	full  bool          // every write fails
	// fickle says of each write whether it fails, and whether it is done all the
	// same: as by a store whose last sync failed. May be nil.
	fickle *rand.Rand
}

func newDisk() *disk { return &disk{logs: raft.NewInmemStore(), stable: raft.NewInmemStore()} }

// open gives the disk to a process.
func (d *disk) open(wrote func(*raft.Log)) *openDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = make(chan struct{})
	return &openDisk{disk: d, dead: d.dead, wrote: wrote}
}

// cutPower ends the process that has it open: nothing of it is written after
// this, not even a write that is under way, unless keep says that it just made
// it.
func (o *openDisk) cutPower(keep bool) {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	if !o.off {
		o.off, o.keep = true, keep
		close(o.dead)
	}
}

// trouble sets what is wrong with it.
func (d *disk) trouble(t trouble) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ill = t
}

// openDisk is a disk in the hands of one process. It implements raft.LogStore,
// raft.StableStore and raft.SnapshotStore.
type openDisk struct {
	disk  *disk
	dead  chan struct{}
	wrote func(*raft.Log) // a write begins
	off   bool            // guarded by disk.mu
	keep  bool
}

func (o *openDisk) isOff() bool {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	return o.off
}

// FirstIndex implements raft.LogStore.
func (o *openDisk) FirstIndex() (uint64, error) { return o.disk.logs.FirstIndex() }

// LastIndex implements raft.LogStore.
func (o *openDisk) LastIndex() (uint64, error) { return o.disk.logs.LastIndex() }

// GetLog implements raft.LogStore.
func (o *openDisk) GetLog(index uint64, log *raft.Log) error { return o.disk.logs.GetLog(index, log) }

// StoreLog implements raft.LogStore.
func (o *openDisk) StoreLog(log *raft.Log) error { return o.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (o *openDisk) StoreLogs(logs []*raft.Log) error {
	return o.write(func() error {
		copies := make([]*raft.Log, len(logs))
		for i, l := range logs {
			c := *l
			c.Data = append([]byte(nil), l.Data...)
			copies[i] = &c
		}
		return o.disk.logs.StoreLogs(copies)
	}, logs...)
}

// DeleteRange implements raft.LogStore.
func (o *openDisk) DeleteRange(low, high uint64) error {
	return o.write(func() error { return o.disk.logs.DeleteRange(low, high) })
}

// Set implements raft.StableStore. A dead process writes nothing and is not told.
func (o *openDisk) Set(key, val []byte) error {
	if o.isOff() {
		return nil
	}
	return o.write(func() error { return o.disk.stable.Set(key, val) })
}

// SetUint64 implements raft.StableStore. A dead process writes nothing and is not
// told.
func (o *openDisk) SetUint64(key []byte, val uint64) error {
	if o.isOff() {
		return nil
	}
	return o.write(func() error { return o.disk.stable.SetUint64(key, val) })
}

// write does what is to be done, with disk.mu held, as the disk lets it. A dead
// process writes nothing, unless the write was under way and its power was cut at
// the end of it.
func (o *openDisk) write(do func() error, logs ...*raft.Log) error {
	if o.isOff() {
		return errDisk
	}
	before, after, delay := o.disk.outlook()
	if before {
		return errDisk
	}
	for _, l := range logs {
		o.wrote(l)
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-o.dead:
		}
	}
	// Under the lock, so that who opens the disk after this process is dead reads
	// all of a write or nothing.
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	if o.off && !o.keep {
		return errDisk
	}
	if err := do(); err != nil || !after {
		return err
	}
	return errDisk
}

// outlook says how the next write goes: whether it fails before it is done, or
// after, and how long it takes.
func (d *disk) outlook() (before, after bool, delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	const kinds = 6 // of which four go well
	if d.ill.fickle != nil {
		switch d.ill.fickle.IntN(kinds) {
		case 0:
			before = true
		case 1:
			after = true
		}
	}
	return before || d.ill.full, after, d.ill.delay
}

// Get implements raft.StableStore.
func (o *openDisk) Get(key []byte) ([]byte, error) { return o.disk.stable.Get(key) }

// GetUint64 implements raft.StableStore.
func (o *openDisk) GetUint64(key []byte) (uint64, error) { return o.disk.stable.GetUint64(key) }

// snap is a finished snapshot.
type snap struct {
	meta raft.SnapshotMeta
	data []byte
}

// Create implements raft.SnapshotStore.
func (o *openDisk) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	s := &snap{meta: raft.SnapshotMeta{
		Version: version, ID: time.Now().Format(time.RFC3339Nano), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}
	return &snapSink{disk: o, snap: s}, nil
}

// List implements raft.SnapshotStore: the newest first, two at most.
func (o *openDisk) List() ([]*raft.SnapshotMeta, error) {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, s := range slices.Backward(o.disk.snaps) {
		meta := s.meta
		out = append(out, &meta)
	}
	return out, nil
}

// Open implements raft.SnapshotStore.
func (o *openDisk) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	for _, s := range o.disk.snaps {
		if s.meta.ID == id {
			meta := s.meta
			return &meta, io.NopCloser(bytes.NewReader(s.data)), nil
		}
	}
	return nil, nil, errors.New("no such snapshot")
}

// snapSink is a snapshot that is being written.
type snapSink struct {
	disk   *openDisk
	snap   *snap
	closed bool
}

// Write implements io.Writer.
func (s *snapSink) Write(b []byte) (int, error) {
	s.snap.data = append(s.snap.data, b...)
	return len(b), nil
}

// Close implements io.Closer: the snapshot is there from now on. A second time does
// nothing, as with files.
func (s *snapSink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.disk.write(func() error {
		d := s.disk.disk
		s.snap.meta.Size = int64(len(s.snap.data))
		d.snaps = append(d.snaps, s.snap)
		if len(d.snaps) > 2 {
			d.snaps = d.snaps[1:]
		}
		return nil
	})
}

// ID implements raft.SnapshotSink.
func (s *snapSink) ID() string { return s.snap.meta.ID }

// Cancel implements raft.SnapshotSink.
func (*snapSink) Cancel() error { return nil }
