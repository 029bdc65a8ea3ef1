package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/limpet-dev/limpet/cluster/journal"
	"github.com/limpet-dev/limpet/cluster/smooth"
)

const (
	lockFile = "limpet.lock"
	nameFile = "node-name"
	logFile  = "raft.db"

	// logCacheSize is how many of the newest entries the leader keeps in memory
	// for its followers.
	logCacheSize = 512
)

// storage is what a node keeps: the log, Raft's vote, and snapshots.
type storage struct {
	logs   raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore
	guard  *diskGuard
	latch  *journal.Latch // nil unless they are on a disk
	close  func() error
}

// watch puts a guard before the stores, and a cache before that.
func (s *storage) watch(dir string, cfg DiskConfig, fatal func(error)) error {
	s.guard = newDiskGuard(s.logs, s.stable, dir, cfg, fatal)
	s.stable = s.guard
	if s.latch != nil {
		s.latch.Watch(cfg.WriteDeadline*time.Duration(cfg.Failures), s.guard.giveUp)
	}
	cache, err := raft.NewLogCache(logCacheSize, s.guard)
	if err != nil {
		return fmt.Errorf("open log cache: %w", err)
	}
	s.logs = cache
	return nil
}

// abandoned is closed when writes hang or fail for good.
func (s *storage) abandoned() <-chan struct{} {
	if s.guard == nil {
		return nil
	}
	return s.guard.dead
}

// given says whether the disk is given up.
func (s *storage) given() bool { return isClosed(s.abandoned()) }

// openStorage opens the data directory, or memory if none is set. It refuses a
// directory that another process has open or that belongs to another node.
func openStorage(cfg *Config, log hclog.Logger) (*storage, error) {
	dir, name, retain := cfg.DataDir, cfg.Name, cfg.Raft.SnapshotRetain
	if given := cfg.Stores; given != nil {
		return &storage{logs: given.Logs, stable: given.Stable, snaps: given.Snapshots, close: func() error { return nil }}, nil
	}
	if dir == "" {
		mem := raft.NewInmemStore()
		return &storage{logs: mem, stable: mem, snaps: raft.NewInmemSnapshotStore(), close: func() error { return nil }}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory %q: %w", dir, err)
	}
	unlock, err := lockDir(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("lock data directory %q: %w; is another limpet running on it?", dir, err)
	}
	s, err := openLocked(dir, name, retain, log)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	closeLog := s.close
	s.close = func() error { return errors.Join(closeLog(), unlock()) }
	return s, nil
}

func openLocked(dir, name string, retain int, log hclog.Logger) (*storage, error) {
	if err := claimName(filepath.Join(dir, nameFile), name); err != nil {
		return nil, err
	}
	s, err := openLog(filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, retain, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshots in %q: %w", dir, err), s.close())
	}
	if err := smooth.Sweep(dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.snaps = smooth.Store{SnapshotStore: files, Dir: dir}
	return s, nil
}

// openLog is the one place that knows which log store is used; snapshots are
// kept apart.
func openLog(path string) (*storage, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		// The free list is rebuilt when the file is opened: written on every
		// commit, it makes a file that was once big slow for ever.
		BoltOptions: &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", path, err)
	}
	latch := journal.NewLatch(bolt)
	before, err := journal.Open(filepath.Dir(path), latch)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal of log %q: %w", path, err), bolt.Close())
	}
	return &storage{
		logs: before, stable: latch, latch: latch,
		close: func() error { return errors.Join(before.Close(), bolt.Close()) },
	}, nil
}

// claimName writes the node's name into a new data directory and refuses one
// that belongs to another node: two nodes with one log would lose votes.
func claimName(path, name string) error {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := writeSynced(path, name+"\n"); err != nil {
			return fmt.Errorf("write node name: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("read node name: %w", err)
	}
	if got := strings.TrimSpace(string(b)); got != name {
		return fmt.Errorf("data directory %q belongs to node %q, not %q: start this node as %q, or give it a directory of its own",
			filepath.Dir(path), got, name, got)
	}
	return nil
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
