// Package smooth writes snapshots to the disk bit by bit, and removes what is left of
// those that were not finished.
package smooth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
)

// Store gives the disk what is written of a snapshot bit by bit. Else
// all of it would go there at once when the snapshot is closed, hundreds of
// megabytes of a large state, and the log, which waits for the same disk, would
// stand still meanwhile: long enough to cost a leader its office.
type Store struct {
	raft.SnapshotStore
	Dir string // of the store, as given to raft.NewFileSnapshotStore
}

// every is how many bytes go to the disk at a time.
const every = 8 << 20

// Create implements raft.SnapshotStore.
func (s Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport,
) (raft.SnapshotSink, error) {
	to, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's own
	}
	// The sink does not show its file. Where it is not found under raft's name for
	// it, the snapshot is as good, and only the log waits.
	dir := filepath.Join(s.Dir, snapshotDir, to.ID()+unfinished)
	f, err := os.OpenFile(filepath.Join(dir, "state.bin"), os.O_WRONLY, 0)
	if err != nil {
		return to, nil //nolint:nilerr // see above
	}
	return &sink{SnapshotSink: to, file: f, dir: dir}, nil
}

// What raft's store of snapshots calls its directory, and what is in it and not
// whole.
const snapshotDir, unfinished = "snapshots", ".tmp"

// Sweep removes what a process that was killed left of a snapshot: the
// store passes over it, and it would take room for ever.
func Sweep(dir string) error {
	dir = filepath.Join(dir, snapshotDir)
	list, err := os.ReadDir(dir)
	for _, d := range list {
		if strings.HasSuffix(d.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, d.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("remove unfinished snapshots: %w", err)
	}
	return nil
}

// syncer is what a sink needs of its file.
type syncer interface {
	Sync() error
	Close() error
}

type sink struct {
	raft.SnapshotSink

	file   syncer
	dir    string // goes if the snapshot is not finished: on a full disk the sink leaves it
	closed bool
	dirty  int // bytes since the latest sync
}

// Write implements raft.SnapshotSink.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	if s.dirty += n; err != nil || s.dirty < every {
		return n, err //nolint:wrapcheck // the sink's own
	}
	s.dirty = 0
	if err := s.file.Sync(); err != nil {
		return n, fmt.Errorf("sync snapshot: %w", err)
	}
	return n, nil
}

// Close implements raft.SnapshotSink: as often as one likes, as raft does.
func (s *sink) Close() error {
	err := errors.Join(s.done(), s.SnapshotSink.Close())
	if err != nil {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error {
	return errors.Join(s.done(), s.SnapshotSink.Cancel(), os.RemoveAll(s.dir))
}

func (s *sink) done() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}
