// Package journal makes a log store of Raft faster to write.
//
// A log store on a B+tree has several pages to write for an entry, and two syncs in a
// row: of the pages, and of what points to them. A journal before it has one write
// and one sync. The entries go to the store behind later, many at a time, and until
// then they are read from memory.
//
// The journal is two files of fixed size, which are written over again and again, so
// that a sync has nothing to say of the file itself. While one takes entries, those
// of the other go to the store behind. What is in a file is told from what it had
// before by a generation: the file's head names it, and each frame carries it. The
// head is written anew when all frames are in the store behind, and before anything of
// them is deleted there: so to read all frames again after a crash does no harm.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Files is how many there are: one takes entries while another is emptied.
const Files = 2

// defaultSize is how long a file is.
const defaultSize = 2 << 20

// Store is a raft.LogStore: a journal in front of another store. All methods may be
// called by any goroutine; writes are done one at a time.
type Store struct {
	behind raft.LogStore
	size   int64

	writing sync.Mutex // of the fields up to mu, and of the files
	segs    [Files]*segment
	current int    // takes the entries
	seq     uint64 // of the next frame
	gen     uint64 // the newest
	frame   []byte
	emptied chan error // gives how the older file was emptied; nil if that is known
	closed  bool
	// watch does a write of a head, which may be done when nobody waits for it.
	watch func(write func() error) error

	mu    sync.RWMutex
	young []*raft.Log // in the current file and not behind, by index
	old   []*raft.Log // in the other, on their way
}

// marker is what the store behind keeps to say that there is a journal before it.
const marker = "limpet.journal"

// Open opens the journal in a directory, or makes it, and gives the store behind what
// a crash has left here. It does not close the store behind.
func Open(dir string, behind *Latch) (*Store, error) {
	open, err := openFiles(dir, behind)
	if err == nil {
		var s *Store
		if s, err = New(open, defaultSize, behind); err == nil {
			s.watch = behind.watched
			return s, nil
		}
	}
	for _, f := range open {
		if f != nil {
			_ = f.Close()
		}
	}
	return nil, err
}

// openFiles opens the files, or makes them if there has never been one.
func openFiles(dir string, behind *Latch) (open [Files]File, err error) {
	had, err := behind.GetUint64([]byte(marker))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return open, fmt.Errorf("read whether there is a journal: %w", err)
	}
	for i := range open {
		path := filepath.Join(dir, fmt.Sprintf("raft.journal.%d", i))
		if open[i], err = openFile(path, defaultSize, had == 0); err != nil {
			return open, err
		}
	}
	if had == 0 {
		if err := syncDir(dir); err != nil { // also the names, if a crash came before that
			return open, fmt.Errorf("sync the directory of the journal: %w", err)
		}
		if err := behind.SetUint64([]byte(marker), 1); err != nil {
			return open, fmt.Errorf("note that there is a journal: %w", err)
		}
	}
	return open, nil
}

// New makes a journal of files of that size, in bytes: a multiple of 4096, of two pages
// or more. It gives the store behind what a crash has left in them.
func New(open [Files]File, size int64, behind raft.LogStore) (*Store, error) {
	s := &Store{behind: behind, size: size, watch: func(write func() error) error { return write() }}
	var frames []frame
	for i, f := range open {
		s.segs[i] = &segment{file: f, size: size}
		found, err := s.segs[i].recover()
		if err != nil {
			return nil, err
		}
		s.gen = max(s.gen, s.segs[i].gen)
		frames = append(frames, found...)
	}
	slices.SortFunc(frames, func(a, b frame) int { return cmp.Compare(a.seq, b.seq) })
	var logs []*raft.Log
	for i, f := range frames {
		if i > 0 && f.seq != frames[i-1].seq+1 {
			return nil, damage(fmt.Sprintf("its frame %d is missing", frames[i-1].seq+1))
		}
		s.seq = f.seq + 1
		logs = append(logs, f.logs...)
	}
	if len(logs) > 0 {
		if err := behind.StoreLogs(logs); err != nil {
			return nil, fmt.Errorf("store entries of the journal: %w", err)
		}
	}
	for _, g := range s.segs {
		if err := s.renew(g); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// void gives all entries to the store behind, and makes sure that nothing is read from
// the files again. The caller holds writing.
func (s *Store) void() error {
	if err := s.drain(); err != nil { // after which the other file is renewed
		return err
	}
	return s.renew(s.segs[s.current])
}

// renew gives a file whose entries are behind a new generation. The caller holds
// writing.
func (s *Store) renew(g *segment) error {
	s.gen++
	return s.head(g, s.gen)
}

func (s *Store) head(g *segment, gen uint64) error {
	return s.watch(func() error { return g.renew(gen) })
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. The entries are on disk when it returns, all
// of them, or if it fails none that would be read before a restart.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return errClosed
	}
	if err := s.inOrder(logs); err != nil {
		return err
	}
	s.frame = appendFrame(s.frame[:0], logs)
	if int64(len(s.frame)) > s.size-page {
		return s.storeLarge(logs)
	}
	g, err := s.room(len(s.frame))
	if err != nil {
		return err
	}
	sealFrame(s.frame, g.gen, g.seed, s.seq)
	if err := g.append(s.frame); err != nil {
		return err // the file takes nothing more before it is renewed
	}
	s.seq++
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		kept := *l // Raft's own may be written to
		s.young = append(s.young, &kept)
	}
	return nil
}

// room gives the file that takes a frame of n bytes. The caller holds writing.
func (s *Store) room(n int) (*segment, error) {
	g := s.segs[s.current]
	if !g.ready { // a write failed: what it left must not be taken for an entry
		if err := s.void(); err != nil {
			return nil, err
		}
	}
	if g.fits(n) {
		return g, nil
	}
	if err := s.turn(); err != nil {
		return nil, err
	}
	return s.segs[s.current], nil
}

// inOrder sees to it that what waits for the store behind is older than entries that
// are to be stored, so that it is found by index. Raft deletes what it replaces, so
// mostly there is nothing to do.
func (s *Store) inOrder(logs []*raft.Log) error {
	for i, l := range logs {
		if i > 0 && l.Index <= logs[i-1].Index {
			return fmt.Errorf("index of an entry is %d, after %d: must grow", l.Index, logs[i-1].Index)
		}
	}
	if _, last := s.ends(); logs[0].Index > last {
		return nil
	}
	return s.void()
}

// storeLarge stores what no file has room for. The caller holds writing.
func (s *Store) storeLarge(logs []*raft.Log) error {
	s.frame = nil
	if err := s.void(); err != nil {
		return err
	}
	return s.behind.StoreLogs(logs) //nolint:wrapcheck // the store's own
}

// turn makes the other file take entries, and empties the one that is full. The
// caller holds writing.
func (s *Store) turn() error {
	if err := s.settle(); err != nil {
		return err
	}
	full := s.segs[s.current]
	full.ready = false
	s.current = (s.current + 1) % Files
	s.mu.Lock()
	s.old, s.young = s.young, nil
	logs := s.old
	s.mu.Unlock()
	s.gen++
	gen, done := s.gen, make(chan error, 1)
	s.emptied = done
	go func() { done <- s.empty(full, logs, gen) }()
	return nil
}

// empty gives entries to the store behind, and makes their file ready.
func (s *Store) empty(g *segment, logs []*raft.Log, gen uint64) error {
	if len(logs) > 0 {
		if err := s.behind.StoreLogs(logs); err != nil {
			return err //nolint:wrapcheck // the store's own
		}
	}
	return s.head(g, gen)
}

// settle waits until the older file is empty, and tries again if that has failed and
// was told. The caller holds writing.
func (s *Store) settle() error {
	if s.emptied != nil {
		err := <-s.emptied
		s.emptied = nil
		if err != nil { // not tried again before it is known: a second sync may hide what the first has lost
			return err
		}
	}
	other := s.segs[(s.current+1)%Files]
	if !other.ready {
		s.mu.RLock()
		logs := s.old
		s.mu.RUnlock()
		s.gen++
		if err := s.empty(other, logs, s.gen); err != nil {
			return err
		}
	}
	s.forgetOld()
	return nil
}

func (s *Store) forgetOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old = nil
}

// drain gives all entries to the store behind. Their frames stay. The caller holds
// writing.
func (s *Store) drain() error {
	if err := s.settle(); err != nil {
		return err
	}
	s.mu.RLock()
	logs := s.young
	s.mu.RUnlock()
	if len(logs) == 0 {
		return nil
	}
	if err := s.behind.StoreLogs(logs); err != nil {
		return err //nolint:wrapcheck // the store's own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young = nil
	return nil
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(first, last uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return errClosed
	}
	// What is to go must not be in the files, or a crash would bring it back. Mostly it is
	// not: a compaction leaves the newest entries.
	if oldest, _ := s.ends(); oldest == 0 || last >= oldest || !s.segs[s.current].ready {
		if err := s.void(); err != nil {
			return err
		}
	}
	return s.behind.DeleteRange(first, last) //nolint:wrapcheck // the store's own
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	if found := s.recent(index); found != nil {
		*l = *found
		return nil
	}
	return s.behind.GetLog(index, l) //nolint:wrapcheck // what leaves memory is there
}

func (s *Store) recent(index uint64) *raft.Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, logs := range [][]*raft.Log{s.young, s.old} {
		at, ok := slices.BinarySearchFunc(logs, index, func(l *raft.Log, index uint64) int {
			switch {
			case l.Index < index:
				return -1
			case l.Index > index:
				return 1
			}
			return 0
		})
		if ok {
			return logs[at]
		}
	}
	return nil
}

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) {
	for {
		first, _ := s.ends()
		index, err := s.behind.FirstIndex()
		if again, _ := s.ends(); again != first && err == nil {
			continue // entries have gone from the one to the other
		}
		if err != nil || index == 0 || first != 0 && first < index {
			return first, err //nolint:wrapcheck // the store's own
		}
		return index, nil
	}
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.ends()
	index, err := s.behind.LastIndex()
	return max(index, last), err //nolint:wrapcheck // the store's own
}

// ends are the indexes of the oldest and the newest entry that are not behind; 0 if
// there is none.
func (s *Store) ends() (first, last uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, logs := range [][]*raft.Log{s.old, s.young} {
		if len(logs) == 0 {
			continue
		}
		if first == 0 {
			first = logs[0].Index
		}
		last = logs[len(logs)-1].Index
	}
	return first, last
}

var errClosed = errors.New("the journal is closed")

// Close gives all entries to the store behind and closes the files. A second call
// does nothing.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.void() // or a build without a journal may change what is in it too
	for _, g := range s.segs {
		err = errors.Join(err, g.file.Close())
	}
	return err
}
