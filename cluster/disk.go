package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// ErrDisk is why a node stops whose log cannot be written.
const ErrDisk = sentinelError("the log cannot be written")

// errStalled is what Raft is told of a write that takes too long.
const errStalled = sentinelError("the write to the log did not end in time")

// DiskConfig says how long a write of the log may take, and when the node gives
// up.
type DiskConfig struct {
	// WriteDeadline is when a leader's write of entries is told to Raft as failed. It
	// then steps down: without that, a disk that stalls under it would stop the
	// log for as long as its heartbeats keep it in office.
	WriteDeadline time.Duration
	// Failures in a row, over WriteDeadline at least, after which the node stops
	// with ErrDisk. A write that hangs for Failures times WriteDeadline counts as
	// that too, and so does one EIO.
	Failures int
	// Fault is called before every write; it may wait, and its error is the
	// write's. It is for tests of faults. May be nil.
	Fault func() error
}

// DiskHealth counts how writes of the log went since the node was opened.
type DiskHealth struct {
	Writes   uint64
	Failures uint64 // errors and stalls
	Stalls   uint64
	Slowest  time.Duration
	Spent    time.Duration // in all writes
}

// diskGuard is the log store and the stable store as Raft sees them.
//
// Writes are done one at a time, each in a goroutine of its own. One that was told
// as failed may have been done all the same: it ends after its time, or its last
// step failed, the sync of what the store already goes by. Raft does not know those
// entries then, and would later find them behind newer ones. So before anything
// else is written they are removed again, and until then they cannot be read: a
// follower looks in the store for the entry before those that it is sent, and
// would build on one that is about to go.
//
// What is kept of terms and votes must not fail, or Raft panics: it is tried again
// until it succeeds or the node is given up; then Raft's goroutine ends. The same
// holds for a truncation of the log and for the entries that Raft writes after it:
// if they failed, it would go on as if what it truncated were still there. And it
// holds for changes of the configuration: a leader that cannot write one goes by it
// all the same, and a node that no log has would be a voter for it for ever.
type diskGuard struct {
	raft.LogStore
	raft.StableStore

	cfg   DiskConfig
	dir   string
	fatal func(error)
	turn  chan struct{} // one write at a time
	dead  chan struct{} // closed when the node is given up
	cut   atomic.Bool   // the log was truncated, and nothing was written since
	leads atomic.Pointer[func() bool]

	mu     sync.Mutex
	health DiskHealth
	row    int       // failures in a row
	since  time.Time // of the first of them
	stale  []span    // entries that Raft was told are not written; they may be
	gone   bool
}

// span is a range of Raft's indexes; none if last is 0.
type span struct{ first, last uint64 }

// write is one that is being done.
type write struct {
	entries span
	do      func() error
	ended   bool
}

func newDiskGuard(logs raft.LogStore, stable raft.StableStore, dir string, cfg DiskConfig, fatal func(error)) *diskGuard {
	return &diskGuard{
		LogStore: logs, StableStore: stable, cfg: cfg, dir: dir, fatal: fatal, turn: make(chan struct{}, 1), dead: make(chan struct{}),
	}
}

// StoreLog implements raft.LogStore.
func (g *diskGuard) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (g *diskGuard) StoreLogs(logs []*raft.Log) error {
	w := &write{do: func() error { return g.LogStore.StoreLogs(logs) }}
	if g.cut.Load() || slices.ContainsFunc(logs, func(l *raft.Log) bool { return l.Type == raft.LogConfiguration }) {
		defer g.cut.Store(false)
		return g.surely(w.do)
	}
	if len(logs) > 0 {
		w.entries = span{logs[0].Index, logs[len(logs)-1].Index}
	}
	return g.inTime(w)
}

// DeleteRange implements raft.LogStore. It is not told as failed for its time:
// Raft would go on to look for entries that are gone a moment later. No leader waits
// for it, but a follower that truncates its log, and the compaction. A compaction
// may fail; it is done another time.
func (g *diskGuard) DeleteRange(first, last uint64) error {
	var truncates atomic.Bool
	do := func() error {
		end, err := g.LastIndex()
		if err != nil {
			return err
		}
		if end == 0 {
			return nil // Raft compacts an empty log too
		}
		if last >= end { // a compaction leaves some
			truncates.Store(true)
			g.cut.Store(true) // also if it fails: it may be done
		}
		// Whoever waited is gone if it is given up by now: he saw that it truncates,
		// or was told that nothing was done.
		if err := g.alive(); err != nil {
			return err
		}
		return g.LogStore.DeleteRange(first, last)
	}
	return g.try(do, truncates.Load)
}

// GetLog implements raft.LogStore.
func (g *diskGuard) GetLog(index uint64, l *raft.Log) error {
	g.mu.Lock()
	late := slices.ContainsFunc(g.stale, func(s span) bool { return s.first <= index && index <= s.last })
	g.mu.Unlock()
	if late {
		return raft.ErrLogNotFound
	}
	return g.LogStore.GetLog(index, l)
}

// Set implements raft.StableStore.
func (g *diskGuard) Set(key, val []byte) error {
	return g.surely(func() error { return g.StableStore.Set(key, val) })
}

// SetUint64 implements raft.StableStore.
func (g *diskGuard) SetUint64(key []byte, val uint64) error {
	return g.surely(func() error { return g.StableStore.SetUint64(key, val) })
}

// inTime does a write of entries and gives its error, or errStalled. A follower has
// no office to lose, and waits: the end of a write that went well counts for Raft as
// a word of its leader, and after one that failed for its time it would stand for
// election.
func (g *diskGuard) inTime(w *write) error {
	if leads := g.leads.Load(); leads != nil && !(*leads)() {
		return g.await(w)
	}
	late := time.NewTimer(g.cfg.WriteDeadline)
	defer late.Stop()
	select {
	case g.turn <- struct{}{}:
	case <-late.C: // one that was given up still hangs
		return g.failed(errStalled)
	}
	done := make(chan error, 1)
	go func() { done <- g.perform(w) }()
	select {
	case err := <-done:
		return g.outcome(err)
	case <-late.C:
	}
	g.mu.Lock()
	given := !w.ended // up
	if given && w.entries.last != 0 {
		g.stale = append(g.stale, w.entries)
	}
	g.mu.Unlock()
	if given {
		return g.failed(errStalled)
	}
	return g.outcome(<-done)
}

// alive gives ErrDisk if the node is given up: nothing is written after that.
func (g *diskGuard) alive() error {
	if isClosed(g.dead) {
		return ErrDisk
	}
	return nil
}

// perform does a write whose turn it is. If it hangs for too long the node is given
// up, whether anybody waits for it or not.
func (g *diskGuard) perform(w *write) error {
	hung := time.AfterFunc(g.cfg.WriteDeadline*time.Duration(g.cfg.Failures), func() { g.giveUp(errStalled) })
	defer hung.Stop()
	began := time.Now()
	err := g.alive()
	if err == nil {
		err = g.clean()
	}
	if err == nil && g.cfg.Fault != nil {
		err = g.cfg.Fault()
	}
	if err == nil {
		err = g.alive() // the wait may have been long
	}
	if err == nil {
		err = w.do()
	}
	// After an EIO the kernel may have dropped what it could not write, and tell the
	// next sync that all is well: there must be none, also if nobody waits any more.
	if errors.Is(err, syscall.EIO) {
		g.giveUp(err)
	}
	g.mu.Lock()
	w.ended = true
	if err != nil && w.entries.last != 0 {
		g.stale = append(g.stale, w.entries)
	}
	g.health.Writes++
	took := time.Since(began)
	g.health.Slowest = max(g.health.Slowest, took)
	g.health.Spent += took
	g.mu.Unlock()
	<-g.turn
	return err
}

// clean removes entries that Raft was told are not there.
func (g *diskGuard) clean() error {
	g.mu.Lock()
	stale := g.stale // it is this write's turn: none of them is still being written
	g.mu.Unlock()
	for _, s := range stale {
		end, err := g.LastIndex()
		if err == nil && s.first <= end {
			err = g.LogStore.DeleteRange(s.first, s.last)
		}
		if err != nil {
			return fmt.Errorf("remove entries %d to %d, told as not written: %w", s.first, s.last, err)
		}
	}
	g.mu.Lock()
	g.stale = g.stale[len(stale):] // this write may have been given up meanwhile
	g.mu.Unlock()
	return nil
}

// surely does a write that may not fail.
func (g *diskGuard) surely(do func() error) error {
	return g.try(do, func() bool { return true })
}

// try does a write however long it takes, and again while its failure must not be
// told. If the node is given up meanwhile and that is so, the goroutine ends: with
// it a leader leaves its office, and whoever waits for it is part of a node that has
// stopped.
func (g *diskGuard) try(do func() error, again func() bool) error {
	for pause := time.Millisecond; ; pause = min(2*pause, g.cfg.WriteDeadline/4+1) {
		err := g.await(&write{do: do})
		if err == nil || !again() {
			return err
		}
		select {
		case <-g.dead:
			runtime.Goexit()
		case <-time.After(pause):
		}
	}
}

// await does a write, unless the node is given up meanwhile.
func (g *diskGuard) await(w *write) error {
	select {
	case g.turn <- struct{}{}:
	case <-g.dead:
		return ErrDisk
	}
	done := make(chan error, 1)
	go func() { done <- g.perform(w) }()
	select {
	case err := <-done:
		return g.outcome(err)
	case <-g.dead:
		return ErrDisk
	}
}

// outcome counts a write that ended.
func (g *diskGuard) outcome(err error) error {
	if err != nil {
		return g.failed(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.row = 0
	return nil
}

// failed counts a failure, and gives the node up if it is one too many.
func (g *diskGuard) failed(err error) error {
	g.mu.Lock()
	g.health.Failures++
	if errors.Is(err, errStalled) {
		g.health.Stalls++
	}
	if g.row == 0 {
		g.since = time.Now()
	}
	g.row++
	enough := g.row >= g.cfg.Failures && time.Since(g.since) >= g.cfg.WriteDeadline
	g.mu.Unlock()
	if enough {
		g.giveUp(err)
	}
	return err
}

func (g *diskGuard) giveUp(last error) {
	g.mu.Lock()
	first := !g.gone
	g.gone = true
	g.mu.Unlock()
	if first {
		close(g.dead)
		g.fatal(fmt.Errorf("%w in %q, the last error: %w; free or mend the disk, then start this node again", ErrDisk, g.dir, last))
	}
}

// report gives the counts.
func (g *diskGuard) report() DiskHealth {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.health
}

// DiskHealth gives how the writes of this node's log went.
func (n *Node) DiskHealth() DiskHealth { return n.storage.guard.report() }
