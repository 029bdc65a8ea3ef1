// Package history keeps on disk the finished runs that the replicated state has
// forgotten: each node its own.
//
// A store is a row of files, bbolt databases, of which the newest is written
// and the oldest is dropped when they are too old or too large together. Runs
// come in the order of their end, which is the same on all nodes; so only what
// ended before the last key of the newest file is looked up to see whether it is
// kept already, as when a log is played again after a crash.
//
// What was added is readable at once. It is on disk after a flush: the owner
// flushes before a snapshot of the state is kept, because after that the log no
// longer brings the runs back.
package history

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	// flushEvery is how long what was added may wait for the disk.
	flushEvery = time.Second
	// flushBytes is how much waits before it is written at once.
	flushBytes = 8 << 20
	// maxWaiting is how much may wait: a disk that cannot keep up slows the
	// caller, and memory does not grow.
	maxWaiting = 64 << 20
	// longestWait is how long the caller is slowed at a time: a disk that takes
	// nothing for so long hangs, and what does not fit is dropped until it writes
	// again, as it is at once when a write fails. The other nodes have it too; a
	// state that stands still would be worse.
	longestWait = 10 * time.Second
	// sayEvery is how often the log repeats that nothing can be written.
	sayEvery = time.Minute
)

// Config says where a store is and what it keeps.
type Config struct {
	// Dir is made if need be. Empty keeps a bounded number of runs in memory.
	Dir string
	// MaxAge and MaxBytes bound the store: a file goes when all its runs are
	// older, or when the files are larger together.
	MaxAge   time.Duration
	MaxBytes int64
	Logger   hclog.Logger
}

// Store keeps finished runs. All methods may be called by any goroutine.
type Store struct {
	cfg  Config
	log  hclog.Logger
	disk *disk // nil: in memory only

	mu      sync.Mutex
	waiting []*fsm.Archived          // to be written, oldest first
	writing []*fsm.Archived          // of a flush that runs
	byID    map[string]*fsm.Archived // of both, by the ids of runs and task runs
	bytes   int                      // of both
	mark    mark                     // of the newest run that was added
	room    *sync.Cond               // bytes has shrunk, or the store is closed
	closed  bool
	stuck   bool // the last write failed, or took longestWait while there was no room
	dropped int  // runs that found no room
	failed  int  // writes that failed

	flushMu sync.Mutex // one flush at a time
	wake    chan struct{}
	stop    chan struct{}
	wg      sync.WaitGroup
}

// Open opens the store, or makes it. Files that cannot be read are put aside
// with a word in the log: a node starts without its history rather than not.
func Open(cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	s := &Store{
		cfg: cfg, log: cfg.Logger, byID: map[string]*fsm.Archived{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	s.room = sync.NewCond(&s.mu)
	if cfg.Dir != "" {
		var err error
		if s.disk, err = openDisk(cfg, s.log); err != nil {
			return nil, fmt.Errorf("open history in %q: %w", cfg.Dir, err)
		}
		s.mark = s.disk.last()
	}
	s.wg.Go(s.run)
	return s, nil
}

// Add takes runs over, in the order of their end. Those that are kept already
// are skipped. It waits only while too much waits for a disk that writes, and not
// for long.
func (s *Store) Add(runs []*fsm.Archived) {
	if len(runs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range runs {
		m := markOf(a.Run)
		if !s.mark.before(m) && s.has(string(a.Run.ID)) {
			continue
		}
		room := s.await()
		if s.closed {
			return
		}
		if !room {
			s.dropped++
			continue
		}
		if s.mark.before(m) {
			s.mark = m
		}
		s.waiting = append(s.waiting, a)
		s.note(a, 1)
	}
	if s.bytes >= flushBytes && !s.stuck { // a full disk is tried at each tick
		s.poke()
	}
}

// await waits for room, and reports whether there is any. The caller holds mu.
func (s *Store) await() bool {
	if s.bytes < maxWaiting {
		return true
	}
	late := time.AfterFunc(longestWait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.bytes >= maxWaiting {
			s.stuck = true
		}
		s.room.Broadcast()
	})
	defer late.Stop()
	for s.bytes >= maxWaiting && !s.closed && !s.stuck {
		s.poke()
		s.room.Wait()
	}
	return s.bytes < maxWaiting
}

// has looks a run up. The caller holds mu.
func (s *Store) has(id string) bool {
	if _, ok := s.byID[id]; ok || s.disk == nil {
		return ok
	}
	return s.disk.has(id)
}

// note counts a run in or out. The caller holds mu.
func (s *Store) note(a *fsm.Archived, sign int) {
	s.bytes += sign * a.Size()
	set := func(id string) {
		if sign > 0 {
			s.byID[id] = a
		} else {
			delete(s.byID, id)
		}
	}
	set(string(a.Run.ID))
	for _, t := range a.Tasks {
		set(string(t.ID))
	}
}

func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Get finds a run by its id or by that of one of its task runs.
func (s *Store) Get(id string) (*fsm.Archived, bool, error) {
	s.mu.Lock()
	a, ok := s.byID[id]
	s.mu.Unlock()
	if ok || s.disk == nil {
		return a, ok, nil
	}
	a, err := s.disk.get(id) // what has left byID is on disk
	return a, a != nil, err
}

// Newest gives runs to visit, those that ended last first, until it says no.
func (s *Store) Newest(visit func(*fsm.Archived) bool) error {
	s.mu.Lock()
	var list []*fsm.Archived
	list = append(append(list, s.writing...), s.waiting...)
	s.mu.Unlock()
	upTo := noMark()
	for _, a := range slices.Backward(list) {
		upTo = markOf(a.Run)
		if !visit(a) {
			return nil
		}
	}
	if s.disk == nil {
		return nil
	}
	return s.disk.newest(upTo, visit)
}

// Stats are figures for metrics.
type Stats struct {
	Files   int
	Bytes   int64
	Waiting int // runs that wait for the disk
	Dropped int // runs that found no room, as the disk took nothing for long
	Failed  int // writes that failed; they are tried again
}

// Stats gives the figures of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	out := Stats{Waiting: len(s.waiting) + len(s.writing), Dropped: s.dropped, Failed: s.failed}
	s.mu.Unlock()
	if s.disk != nil {
		out.Files, out.Bytes = s.disk.size()
	}
	return out
}

// run flushes from time to time and drops what is too old.
func (s *Store) run() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var failing bool
	var said time.Time
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-s.wake:
		}
		err := s.Flush()
		switch {
		case err != nil && time.Since(said) > sayEvery:
			said = time.Now()
			s.log.Error("finished runs cannot be written to the history; they are kept in memory as far as there is room, and written later",
				"runs", s.Stats().Waiting, "error", err)
		case err == nil && failing:
			s.log.Info("finished runs can be written to the history again")
			said = time.Time{}
		}
		failing = err != nil
		s.Expire(time.Now())
	}
}

// Expire drops what is older than the limit; the store does so by itself.
func (s *Store) Expire(now time.Time) {
	if s.disk != nil {
		s.disk.expire(now)
	}
}

// Flush writes all that was added before it was called. What cannot be written
// waits for the next time; maxWaiting bounds it.
func (s *Store) Flush() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock()
	if s.disk == nil {
		s.trim()
		s.mu.Unlock()
		return nil
	}
	s.writing, s.waiting = s.waiting, nil
	batch := s.writing
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.disk.write(batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = nil
	if err != nil {
		s.waiting = append(batch, s.waiting...)
		s.failed++
		s.stuck = true // to wait for a disk that says no makes no room
		s.room.Broadcast()
		return err
	}
	for _, a := range batch {
		s.note(a, -1)
	}
	s.stuck = false
	s.room.Broadcast()
	return nil
}

// trim bounds a store without a disk. The caller holds mu.
func (s *Store) trim() {
	for s.bytes > min(int(s.cfg.MaxBytes), maxWaiting/2) && len(s.waiting) > 0 {
		s.note(s.waiting[0], -1)
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
	s.room.Broadcast()
}

// Close flushes and closes the store. A second call does nothing.
func (s *Store) Close() error { return s.end(s.Flush) }

// Abandon closes the store as a crash does: what waits for the disk is lost. It
// is for tests and simulations.
func (s *Store) Abandon() error { return s.end(func() error { return nil }) }

func (s *Store) end(last func() error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.room.Broadcast()
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	err := last()
	if s.disk != nil {
		err = errors.Join(err, s.disk.close())
	}
	return err
}
