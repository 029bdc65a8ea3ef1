package sim

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/cluster/journal"
)

// journalSize is small, so that files are filled and emptied all the time.
const journalSize = 8 * 4096

// journalled is the log of a node as it is on a real disk: a journal before the store.
type journalled struct {
	*journal.Store

	disk *openDisk
}

// journal opens the log of a node.
func (o *openDisk) journal() (raft.LogStore, error) {
	s, err := journal.New(o.journals(), journalSize, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrDisk, err)
	}
	return journalled{s, o}, nil
}

// journals are the files before the store, as they were left.
func (o *openDisk) journals() (files [journal.Files]journal.File) {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	for i := range files {
		if o.disk.journals[i] == nil {
			o.disk.journals[i] = journal.Blank(journalSize)
		}
		files[i] = &journalFile{disk: o, kept: o.disk.journals[i], seen: bytes.Clone(o.disk.journals[i])}
	}
	return files
}

// StoreLog implements raft.LogStore.
func (j journalled) StoreLog(l *raft.Log) error { return j.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (j journalled) StoreLogs(logs []*raft.Log) error {
	if j.disk.isOff() {
		return errDisk
	}
	for _, l := range logs {
		j.disk.wrote(l)
	}
	return j.Store.StoreLogs(logs) //nolint:wrapcheck // as by the disk
}

// journalFile is a file of which a crash keeps what was synced.
type journalFile struct {
	disk  *openDisk
	kept  []byte // guarded by disk.mu
	seen  []byte
	dirty []span
}

// span is a part of a file.
type span struct{ from, to int64 }

// ReadAt implements io.ReaderAt.
func (f *journalFile) ReadAt(p []byte, at int64) (int, error) {
	if n := copy(p, f.seen[at:]); n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

// WriteAt implements io.WriterAt.
func (f *journalFile) WriteAt(p []byte, at int64) (int, error) {
	f.dirty = append(f.dirty, span{at, at + int64(len(p))})
	return copy(f.seen[at:], p), nil
}

// Sync implements journal.File.
func (f *journalFile) Sync() error {
	return f.disk.write(func() error {
		for _, s := range f.dirty {
			copy(f.kept[s.from:s.to], f.seen[s.from:s.to])
		}
		f.dirty = nil
		return nil
	})
}

// Close implements io.Closer.
func (*journalFile) Close() error { return nil }

// Name implements journal.File.
func (*journalFile) Name() string { return "journal" }
