package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

const testSize = 8 * page

// world is the disk of a node: two files and the store behind. Its power fails when
// the fuse has burnt down; from then on nothing is done any more.
type world struct {
	mu    sync.Mutex // a file is emptied beside the rest
	rng   *rand.Rand
	chaos *rand.Rand // of disks and of the store behind
	fuse  int
	dead  bool
	sick  int // one of so many writes and syncs of the journal fails; 0: none
	disks [Files]*disk
	logs  map[uint64]*raft.Log // the store behind; what it has done is on disk
}

var (
	errPower = errors.New("no power")
	errFull  = errors.New("no space left on device")
)

// step burns the fuse, and reports whether there is power for what is to be done.
func (w *world) step() bool {
	w.fuse--
	w.dead = w.dead || w.fuse == 0
	return !w.dead
}

// fails reports whether a write or sync is to fail, though it may be done.
func (w *world) fails() bool { return w.sick > 0 && w.chaos.IntN(w.sick) == 0 }

// disk is a file of which not all that was written is on disk.
type disk struct {
	world *world
	seen  []byte // what is read while there is power
	kept  []byte // what is there after a crash
	dirty []int  // sectors that were written and not synced
}

const sector = 512

func (d *disk) ReadAt(p []byte, at int64) (int, error) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return copy(p, d.seen[at:]), nil
}

func (d *disk) WriteAt(p []byte, at int64) (int, error) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	if d.world.dead {
		return 0, errPower
	}
	copy(d.seen[at:], p)
	for s := int(at) / sector; s*sector < int(at)+len(p); s++ {
		d.dirty = append(d.dirty, s)
	}
	switch {
	case !d.world.step():
		return 0, errPower
	case d.world.fails():
		return 0, errFull
	}
	return len(p), nil
}

func (d *disk) Sync() error {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	if !d.world.step() {
		return errPower
	}
	if d.world.fails() {
		if d.world.chaos.IntN(2) == 0 {
			d.dirty = nil // some systems drop what they could not write
		}
		return errFull
	}
	for _, s := range d.dirty {
		copy(d.kept[s*sector:(s+1)*sector], d.seen[s*sector:(s+1)*sector])
	}
	d.dirty = nil
	return nil
}

func (d *disk) Close() error { return nil }
func (d *disk) Name() string { return "disk" }

// crash keeps nothing, some or all of what was not synced.
func (d *disk) crash() {
	part := d.world.chaos.IntN(3)
	for _, s := range d.dirty {
		if part == 2 || part == 1 && d.world.chaos.IntN(2) == 0 {
			copy(d.kept[s*sector:(s+1)*sector], d.seen[s*sector:(s+1)*sector])
		}
	}
	d.dirty = nil
	copy(d.seen, d.kept)
}

// behind is the store behind: all or nothing, and on disk at once.
type behind struct{ *world }

func (b behind) change(do func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errPower
	}
	late := b.chaos.IntN(2) == 0 // it fails after it was done
	power, fails := b.step(), b.fails()
	if power && !fails || late {
		do()
	}
	switch {
	case b.dead:
		return errPower
	case fails:
		return errFull
	}
	return nil
}

func (b behind) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

func (b behind) StoreLogs(logs []*raft.Log) error {
	return b.change(func() {
		for _, l := range logs {
			b.logs[l.Index] = l
		}
	})
}

func (b behind) DeleteRange(first, last uint64) error {
	return b.change(func() {
		for i := first; i <= last; i++ {
			delete(b.logs, i)
		}
	})
}

func (b behind) GetLog(index uint64, l *raft.Log) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found := b.logs[index]; found != nil {
		*l = *found
		return nil
	}
	return raft.ErrLogNotFound
}

func (b behind) FirstIndex() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first uint64
	for i := range b.logs {
		if first == 0 || i < first {
			first = i
		}
	}
	return first, nil
}

func (b behind) LastIndex() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last uint64
	for i := range b.logs {
		last = max(last, i)
	}
	return last, nil
}

func newWorld(seed uint64) *world {
	w := &world{logs: map[uint64]*raft.Log{}}
	w.rng, w.chaos = rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // not a secret
	for i := range w.disks {
		w.disks[i] = &disk{world: w, seen: Blank(testSize), kept: Blank(testSize)}
	}
	return w
}

func (w *world) open() (*Store, error) {
	var f [Files]File
	for i, d := range w.disks {
		f[i] = d
	}
	return New(f, testSize, behind{w})
}

// crash turns the power off and on again.
func (w *world) crash() {
	for _, d := range w.disks {
		d.crash()
	}
	w.dead, w.fuse, w.sick = false, -1, 0
}

// shadow is what a log should hold, and what it may hold instead after a crash: a write
// that was not answered, or failed, is done or not until another went well.
type shadow struct {
	logs map[uint64]string
	may  []map[uint64]string
}

func text(l *raft.Log) string {
	return fmt.Sprint(l.Index, l.Term, l.Type, l.AppendedAt.UnixNano(), string(l.Data), string(l.Extensions))
}

func contents(tb testing.TB, s raft.LogStore) map[uint64]string {
	tb.Helper()
	first, err := s.FirstIndex()
	if err != nil {
		tb.Fatal(err)
	}
	last, err := s.LastIndex()
	if err != nil {
		tb.Fatal(err)
	}
	out := map[uint64]string{}
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err == nil {
			out[i] = text(&l)
		} else if !errors.Is(err, raft.ErrLogNotFound) {
			tb.Fatal(err)
		}
	}
	return out
}

func same(a, b map[uint64]string) bool {
	return maps.Equal(a, b)
}

func (m *shadow) clone() map[uint64]string {
	return maps.Clone(m.logs)
}

// act does something to the log and to its shadow, and reports whether there is still
// power.
func (m *shadow) act(tb testing.TB, w *world, s *Store, term *uint64) bool {
	tb.Helper()
	next := m.clone()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	var err error
	switch k := w.rng.IntN(20); {
	case k == 0 && last > first: // a new leader replaces the tail
		from := last - w.rng.Uint64N(min(last-first, 5))
		*term++
		for i := from; i <= last; i++ {
			delete(next, i)
		}
		err = s.DeleteRange(from, last)
	case k == 1 && last > first: // compaction
		to := first + w.rng.Uint64N(last-first)
		for i := first; i <= to; i++ {
			delete(next, i)
		}
		err = s.DeleteRange(first, to)
	default:
		at := last + 1
		switch w.rng.IntN(30) {
		case 0:
			at += 5 // behind a snapshot of another node
		case 1:
			if last > first { // Raft does not, but a store may be asked to
				at = last
				*term++
			}
		}
		var logs []*raft.Log
		for i := range 1 + w.rng.IntN(4) {
			l := &raft.Log{Index: at + uint64(i), Term: *term, Type: raft.LogType(w.rng.IntN(6)), Data: bytes.Repeat([]byte{byte(w.rng.IntN(256))}, w.rng.IntN(3000))}
			if w.rng.IntN(20) == 0 {
				l.Data = bytes.Repeat([]byte("x"), testSize)
			}
			if w.rng.IntN(2) == 0 {
				l.AppendedAt, l.Extensions = time.Unix(0, w.rng.Int64()), []byte("e")
			}
			logs = append(logs, l)
			next[l.Index] = text(l)
		}
		err = s.StoreLogs(logs)
	}
	switch {
	case err == nil:
		m.logs, m.may = next, nil
	case errors.Is(err, errFull):
		if got := contents(tb, s); !same(got, m.logs) && !same(got, next) {
			tb.Fatal("a write that failed was half done")
		}
		m.may = append(m.may, next, m.logs)
		m.logs = contents(tb, s)
	case errors.Is(err, errPower):
		m.may = append(m.may, next)
		return false
	default:
		tb.Fatal(err)
	}
	return true
}

// Whatever a crash leaves of what was not synced: what was answered is there, what
// was deleted is not, and what was not answered is there whole or not at all.
func TestACrashLosesNothingThatWasAnswered(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		w, m, term := newWorld(seed), &shadow{logs: map[uint64]string{}}, uint64(1)
		for life := range 6 {
			s, err := w.open()
			if err == nil {
				err = m.check(t, s)
			}
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			w.fuse, w.sick = 1+w.rng.IntN(80), 0
			if seed%2 == 0 {
				w.sick = 12
			}
			for m.act(t, w, s, &term) {
				if w.rng.IntN(60) == 0 {
					m.stop(t, w, s)
					break
				}
				if w.rng.IntN(4) == 0 && !same(contents(t, s), m.logs) {
					t.Fatalf("seed %d, life %d: the log has %v, want %v", seed, life, contents(t, s), m.logs)
				}
			}
			s.rest()
			w.crash()
			for w.rng.IntN(3) == 0 { // the power fails again while the node starts
				w.fuse = 1 + w.rng.IntN(6)
				if s, err := w.open(); err == nil {
					_ = s
				} else if !errors.Is(err, errPower) {
					t.Fatalf("seed %d, life %d: %v", seed, life, err)
				}
				w.crash()
			}
		}
	}
}

// stop ends a life in order. If that goes well, a build without a journal takes over
// for a while.
func (m *shadow) stop(tb testing.TB, w *world, s *Store) {
	tb.Helper()
	if s.Close() != nil {
		return
	}
	w.fuse, w.sick = -1, 0
	old := behind{w}
	last, _ := old.LastIndex()
	if last > 0 {
		_ = old.DeleteRange(last, last)
		l := &raft.Log{Index: last, Term: 99, Data: []byte("without a journal")}
		if err := old.StoreLog(l); err != nil {
			tb.Fatal(err)
		}
	}
	m.logs, m.may = contents(tb, old), nil
}

// check compares a log that was opened with what it should or may hold, and goes on
// from what it is.
func (m *shadow) check(tb testing.TB, s *Store) error {
	tb.Helper()
	got := contents(tb, s)
	if !same(got, m.logs) && !slices.ContainsFunc(m.may, func(may map[uint64]string) bool { return same(got, may) }) {
		return fmt.Errorf("the log has the entries %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(m.logs)))
	}
	m.logs, m.may = got, nil
	return nil
}

// rest waits until nothing is done beside.
func (s *Store) rest() {
	if s.emptied != nil {
		s.emptied <- <-s.emptied
	}
}

func entry(i uint64, data string) *raft.Log { return &raft.Log{Index: i, Term: 1, Data: []byte(data)} }

// What lies before a frame that can be read was answered: it must not be left out in
// silence.
func TestDamageIsTold(t *testing.T) {
	w := newWorld(1)
	s, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := s.StoreLog(entry(i+1, "entry")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		at   int
		want string // "": nobody can know
	}{
		{0, "at byte 0"},
		{9, "at byte 0"},
		{len(magic) - 1, "has format 0: this build reads 1"},
		{page + 1, "at byte 4096"},
		{2*page + atEntries + 3, "at byte 8192"},
		{3*page + atEntries, ""},
		{3*page + 4000, ""},
	} {
		d := w.disks[s.current]
		d.seen[c.at] ^= 1
		_, err := New([Files]File{d, w.disks[1-s.current]}, testSize, behind{newWorld(2)})
		d.seen[c.at] ^= 1
		copy(d.seen, d.kept)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("a change at %d: %v, want %q", c.at, err, c.want)
		}
	}
}

// The next frame may have no room where the one that failed lies, and go to the other
// file.
func TestAWriteThatFailedIsNotReadAfterTheNext(t *testing.T) {
	for current := range Files {
		afterAFailure(t, current)
	}
}

func afterAFailure(t *testing.T, current int) {
	t.Helper()
	w := newWorld(1)
	full := &failing{behind: behind{w}}
	s, err := New([Files]File{w.disks[0], w.disks[1]}, testSize, full)
	if err != nil {
		t.Fatal(err)
	}
	s.current = current
	last := uint64(testSize/page - 3) // leaves room for two pages
	for i := range last {
		if err := s.StoreLog(entry(i+1, "entry")); err != nil {
			t.Fatal(err)
		}
	}
	w.sick = 1
	if err := s.StoreLog(entry(last+1, "failed")); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	for _, d := range w.disks { // it is done all the same
		copy(d.kept, d.seen)
	}
	w.sick, full.times = 0, 1
	big := entry(last+1, strings.Repeat("x", 2*page))
	for err = s.StoreLog(big); errors.Is(err, errFull); { // once, while the store behind fails
		err = s.StoreLog(big)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.rest()
	w.crash()
	if s, err = w.open(); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := s.GetLog(last+1, &l); err != nil || len(l.Data) != 2*page {
		t.Errorf("entry %d is %q, %v", last+1, l.Data, err)
	}
}

// The last frame of a file that is full was answered too.
func TestAMissingFrameBetweenTheFilesIsTold(t *testing.T) {
	w := newWorld(1)
	s, err := New([Files]File{w.disks[0], w.disks[1]}, testSize, &failing{behind: behind{w}, times: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i < testSize/page+2; i++ {
		if err := s.StoreLog(entry(i, "entry")); err != nil {
			t.Fatal(err)
		}
	}
	s.rest()
	w.disks[0].seen[testSize-page+atEntries] ^= 1
	if _, err := w.open(); err == nil || !strings.Contains(err.Error(), "its frame 6 is missing") {
		t.Errorf("error is %v", err)
	}
}

// failing is a store behind that fails so often.
type failing struct {
	behind

	times int
}

func (f *failing) StoreLogs(logs []*raft.Log) error {
	if f.times > 0 {
		f.times--
		return errFull
	}
	return f.behind.StoreLogs(logs)
}

func TestAStoreBehindThatFailsLosesNothing(t *testing.T) {
	w := newWorld(1)
	full := &failing{behind: behind{w}, times: 7}
	s, err := New([Files]File{w.disks[0], w.disks[1]}, testSize, full)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]string{}
	failed := 0
	for i := uint64(1); i <= 60; {
		l := entry(i, strings.Repeat("x", 1000))
		if err := s.StoreLog(l); errors.Is(err, errFull) {
			failed++
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		want[i] = text(l)
		if got := contents(t, s); !same(got, want) {
			t.Fatalf("after %d entries and %d failures the log has %d", i, failed, len(got))
		}
		i++
	}
	if failed != 7 || full.times != 0 {
		t.Errorf("%d failures were told of 7, %d are to come", failed, full.times)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(w.logs) != 60 {
		t.Errorf("the store behind has %d entries after the close, want 60", len(w.logs))
	}
	if err := s.StoreLog(entry(61, "late")); err == nil {
		t.Error("a closed journal took an entry")
	}
}

// store is one behind with Raft's terms and votes.
type store struct {
	behind

	numbers map[string]uint64
	err     error
}

func newStore(w *world) *store { return &store{behind: behind{w}, numbers: map[string]uint64{}} }

func (s *store) Set([]byte, []byte) error      { return s.err }
func (s *store) Get([]byte) ([]byte, error)    { return nil, raftboltdb.ErrKeyNotFound }
func (s *store) StoreLogs(l []*raft.Log) error { return cmp.Or(s.err, s.behind.StoreLogs(l)) }

func (s *store) SetUint64(key []byte, v uint64) error {
	s.numbers[string(key)] = v
	return s.err
}

func (s *store) GetUint64(key []byte) (uint64, error) {
	v, ok := s.numbers[string(key)]
	if !ok {
		return 0, raftboltdb.ErrKeyNotFound
	}
	return v, nil
}

func TestAJournalIsMadeWholeAndOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(1)
	both := NewLatch(newStore(w))
	for life := range uint64(3) {
		s, err := Open(dir, both)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLog(entry(life+1, "entry")); err != nil {
			t.Fatal(err)
		}
		if len(w.logs) != int(life) { //nolint:gosec // small
			t.Fatalf("the store behind has %d entries in life %d", len(w.logs), life)
		}
		for _, g := range s.segs { // as after a crash: nothing is drained
			_ = g.file.Close()
		}
	}
	path := filepath.Join(dir, "raft.journal.1")
	if info, err := os.Stat(path); err != nil || info.Size() != defaultSize {
		t.Fatal(info, err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, both); err == nil || !strings.Contains(err.Error(), "raft.journal.1") {
		t.Errorf("a file that is too short: %v", err)
	}
	if err := errors.Join(os.Remove(path), os.Remove(filepath.Join(dir, "raft.journal.0"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, both); err == nil || !strings.Contains(err.Error(), "raft.journal.0\" is gone") {
		t.Errorf("files that are gone: %v", err)
	}
}

// The store behind is written to when nobody waits for it.
func TestAnErrorOfTheDiskIsToldAtOnceAndLatched(t *testing.T) {
	behind := newStore(newWorld(1))
	latch := NewLatch(behind)
	told := make(chan error, 2)
	latch.Watch(time.Hour, func(err error) { told <- err })
	behind.err = fmt.Errorf("sync raft.db: %w", syscall.EIO)
	s, err := New([Files]File{newWorld(1).disks[0], newWorld(2).disks[0]}, testSize, latch)
	if err != nil {
		t.Fatal(err)
	}
	s.watch = latch.watched
	for i := uint64(1); s.emptied == nil; i++ {
		if err := s.StoreLog(entry(i, "entry")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-told; !errors.Is(err, syscall.EIO) {
		t.Errorf("told %v", err)
	}
	behind.err = nil
	if err := latch.SetUint64([]byte("term"), 2); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write after it: %v", err)
	}
	if err := s.DeleteRange(1, 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("a deletion after it: %v", err)
	}
}

// illFile is one whose syncs fail.
type illFile struct {
	*disk

	ill atomic.Bool
}

func (f *illFile) Sync() error {
	if f.ill.Load() {
		return fmt.Errorf("sync: %w", syscall.EIO)
	}
	return f.disk.Sync()
}

func TestAnErrorOfAFileThatIsEmptiedIsToldAtOnce(t *testing.T) {
	w := newWorld(1)
	latch := NewLatch(newStore(w))
	told := make(chan error, 1)
	latch.Watch(time.Hour, func(err error) { told <- err })
	f := &illFile{disk: w.disks[0]}
	s, err := New([Files]File{f, w.disks[1]}, testSize, latch)
	if err != nil {
		t.Fatal(err)
	}
	s.watch = latch.watched
	for i := uint64(1); s.emptied == nil; i++ {
		f.ill.Store(!s.segs[0].fits(page))
		if err := s.StoreLog(entry(i, "entry")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-told; !errors.Is(err, syscall.EIO) {
		t.Errorf("told %v", err)
	}
}

func TestAWriteThatHangsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		latch := NewLatch(newStore(newWorld(1)))
		told := make(chan error, 1)
		latch.Watch(time.Second, func(err error) { told <- err })
		_ = latch.do(func() error {
			time.Sleep(2 * time.Second)
			return nil
		})
		if err := <-told; !errors.Is(err, errHangs) {
			t.Errorf("told %v", err)
		}
	})
}
