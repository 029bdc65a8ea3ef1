package cluster

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// shakyDisk is a disk whose next writes go as it is told.
type shakyDisk struct {
	mu    sync.Mutex
	spare int // how many writes go well before it is as it was told
	err   error
	stall chan struct{} // while open, writes wait
}

func (d *shakyDisk) fault() error {
	d.mu.Lock()
	err, stall := d.err, d.stall
	if d.spare > 0 {
		d.spare--
		err, stall = nil, nil
	}
	d.mu.Unlock()
	if stall != nil {
		<-stall
	}
	return err
}

func (d *shakyDisk) fails(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// spares so many of the next writes.
func (d *shakyDisk) spares(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare = n
}

// stalls until the function returned is called.
func (d *shakyDisk) stalls() (mend func()) {
	stall := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stall = stall
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stall = nil
		close(stall)
	}
}

// guarded gives a guard over a store in memory, its disk, and what it died of, asked
// when everything has come to rest: a guard lets go of what waits before it says why.
func guarded(t *testing.T) (g *diskGuard, store *raft.InmemStore, disk *shakyDisk, died func() error) {
	t.Helper()
	store, disk = raft.NewInmemStore(), &shakyDisk{}
	cfg := DefaultConfig().Disk
	cfg.Fault = disk.fault
	var mu sync.Mutex
	var why error
	g = newDiskGuard(store, store, "/data", cfg, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		why = errors.Join(why, err)
	})
	return g, store, disk, func() error {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return why
	}
}

// entries gives entries from index 1.
func entries(term, last uint64) (out []*raft.Log) {
	for i := uint64(1); i <= last; i++ {
		out = append(out, &raft.Log{Index: i, Term: term})
	}
	return out
}

// Raft was told that they are not there. If they stayed, they would lie behind
// the entries of a later term, and after a restart make the node's log look
// older than it is: it could vote for a leader that lacks what was committed.
func TestEntriesThatWereWrittenTooLateAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		mend := disk.stalls()
		if err := g.StoreLogs(entries(1, 3)); !errors.Is(err, errStalled) {
			t.Fatalf("a stalled write gave %v", err)
		}
		mend()
		synctest.Wait()
		if last, _ := store.LastIndex(); last != 3 {
			t.Fatalf("the late write left index %d: the test shows nothing", last)
		}
		if err := g.StoreLogs(entries(2, 1)); err != nil {
			t.Fatal(err)
		}
		var l raft.Log
		if last, _ := store.LastIndex(); last != 1 {
			t.Errorf("last index %d, want 1", last)
		}
		if err := store.GetLog(1, &l); err != nil || l.Term != 2 {
			t.Errorf("entry 1 is of term %d (%v), want 2", l.Term, err)
		}
		if h := g.report(); h.Stalls != 1 || h.Failures != 1 || h.Writes != 2 || died() != nil {
			t.Errorf("health %+v, died of %v", h, died())
		}
	})
}

func TestANodeIsGivenUpAfterFailuresInARow(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause error
	}{{"full", syscall.ENOSPC}, {"stalled", errStalled}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _, disk, died := guarded(t)
				mend := func() {}
				if c.name == "stalled" {
					mend = disk.stalls()
				} else {
					disk.fails(c.cause)
				}
				tries := 0
				for ; died() == nil && tries < 100; tries++ {
					if g.StoreLogs(entries(1, 1)) == nil {
						t.Fatal("a write succeeded")
					}
					time.Sleep(100 * time.Millisecond)
				}
				mend()
				synctest.Wait()
				if tries < g.cfg.Failures || !errors.Is(died(), ErrDisk) || !errors.Is(died(), c.cause) {
					t.Errorf("after %d tries: %v", tries, died())
				}
			})
		})
	}
}

// A hiccup, however many writes fall into it, is no reason to stop.
func TestAShortBadTimeOfTheDiskIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, disk, died := guarded(t)
		for range 10 {
			disk.fails(syscall.ENOSPC)
			for range 20 {
				if g.StoreLogs(entries(1, 1)) == nil {
					t.Fatal("a write succeeded")
				}
				time.Sleep(50 * time.Millisecond)
			}
			disk.fails(nil)
			if err := g.StoreLogs(entries(1, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if died() != nil {
			t.Errorf("given up: %v", died())
		}
	})
}

// Raft panics at an error of these.
func TestTermsAndVotesAreWrittenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		disk.fails(syscall.ENOSPC)
		time.AfterFunc(time.Second, func() { disk.fails(nil) })
		if err := g.SetUint64([]byte("term"), 7); err != nil {
			t.Fatal(err)
		}
		if got, err := store.GetUint64([]byte("term")); got != 7 || err != nil || died() != nil {
			t.Errorf("term %d, %v; died of %v", got, err, died())
		}
	})
}

// shakyBed is a cluster whose disks can be told what to do.
func shakyBed(t *testing.T, cfg DiskConfig) (*bed, map[string]*shakyDisk, chan error) {
	t.Helper()
	disks, died := map[string]*shakyDisk{}, make(chan error, 3)
	b := newBed(t, 3, func(c *Config) {
		if disks[c.Name] == nil {
			disks[c.Name] = &shakyDisk{}
		}
		c.Disk, c.Disk.Fault = cfg, disks[c.Name].fault
		c.Fatal = func(err error) { died <- fmt.Errorf("%s: %w", c.Name, err) }
	})
	b.start(b.names...)
	b.awaitReady()
	return b, disks, died
}

// A leader whose write of a new configuration failed went by it all the same: it
// took the new node for a voter, so nobody added it, and the log did not have it.
func TestAConfigurationIsWrittenOrTheNodeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		disk.fails(errors.New("no space left on device"))
		if err := g.StoreLog(&raft.Log{Index: 1, Type: raft.LogNoop}); err == nil {
			t.Error("a write that failed was told as done")
		}
		time.AfterFunc(g.cfg.WriteDeadline/2, func() { disk.fails(nil) })
		if err := g.StoreLog(&raft.Log{Index: 1, Type: raft.LogConfiguration}); err != nil {
			t.Errorf("the write of a configuration: %v", err)
		}
		if last, err := store.LastIndex(); last != 1 || err != nil || died() != nil {
			t.Errorf("last index %d, %v; the node died of %v", last, err, died())
		}
		disk.fails(errors.New("no space left on device"))
		go func() { _ = g.StoreLog(&raft.Log{Index: 2, Type: raft.LogConfiguration}) }()
		<-g.dead
	})
}

// Raft's goroutines stayed, and with them all that they hold; and a leader among
// them stayed in office, for its heartbeats went on.
func TestWhatWaitsForADeadDiskEnds(t *testing.T) {
	for _, how := range []string{"fails", "hangs"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _, disk, died := guarded(t)
				mend := func() {}
				if how == "hangs" {
					mend = disk.stalls()
				} else {
					disk.fails(errors.New("no space left on device"))
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = g.SetUint64([]byte("term"), 2)
					t.Error("a write that was not done came back")
				}()
				<-ended
				if !errors.Is(died(), ErrDisk) {
					t.Errorf("it died of %v", died())
				}
				mend()
			})
		})
	}
}

// fickleStore does what it is told and then says that it failed, so many times: as
// a store whose last sync fails, when it already goes by what it wrote.
type fickleStore struct {
	*raft.InmemStore

	lies int
}

var errFickle = errors.New("input/output error")

func (s *fickleStore) say(err error) error {
	if s.lies > 0 && err == nil {
		s.lies--
		return errFickle
	}
	return err
}

func (s *fickleStore) StoreLogs(l []*raft.Log) error { return s.say(s.InmemStore.StoreLogs(l)) }
func (s *fickleStore) DeleteRange(first, last uint64) error {
	return s.say(s.InmemStore.DeleteRange(first, last))
}

// Raft went on as if it had what it truncated, for it was told that it had.
func TestATruncationThatWasDoneIsNotToldAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, inner, _, died := guarded(t)
		store := &fickleStore{InmemStore: inner}
		g.LogStore = store
		if err := g.StoreLogs(entries(1, 5)); err != nil {
			t.Fatal(err)
		}
		store.lies = 2
		if err := g.DeleteRange(3, 5); err != nil {
			t.Errorf("the truncation: %v", err)
		}
		store.lies = 1
		if err := g.StoreLogs([]*raft.Log{{Index: 3, Term: 2}}); err != nil {
			t.Errorf("the write after the truncation: %v", err)
		}
		if last, _ := store.LastIndex(); last != 3 || died() != nil {
			t.Errorf("last index %d, want 3; died of %v", last, died())
		}
	})
}

// A compaction may fail, and waits for another time.
func TestACompactionThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, disk, died := guarded(t)
		if err := g.StoreLogs(entries(1, 5)); err != nil {
			t.Fatal(err)
		}
		disk.fails(errFickle)
		if err := g.DeleteRange(1, 3); !errors.Is(err, errFickle) || died() != nil {
			t.Errorf("the compaction gave %v; died of %v", err, died())
		}
	})
}

// They lay behind entries of a later term after a restart, as those that were
// written too late did.
func TestEntriesThatWereWrittenAndToldAsFailedAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, inner, _, _ := guarded(t)
		store := &fickleStore{InmemStore: inner, lies: 1}
		g.LogStore = store
		if err := g.StoreLogs(entries(1, 3)); !errors.Is(err, errFickle) {
			t.Fatalf("the write gave %v", err)
		}
		var l raft.Log
		if last, _ := store.LastIndex(); last != 3 {
			t.Fatalf("the write left index %d: the test shows nothing", last)
		}
		if err := g.GetLog(2, &l); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry 2, which Raft does not know, gave %v", err)
		}
		if err := g.StoreLogs(entries(2, 1)); err != nil {
			t.Fatal(err)
		}
		if last, _ := store.LastIndex(); last != 1 {
			t.Errorf("last index %d, want 1", last)
		}
	})
}

// What is to be removed may never have been written, behind a gap that a snapshot
// made.
func TestNothingIsRemovedWhereNothingIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, _ := guarded(t)
		disk.fails(errFickle)
		if err := g.StoreLogs([]*raft.Log{{Index: 9, Term: 1}}); !errors.Is(err, errFickle) {
			t.Fatalf("the write gave %v", err)
		}
		disk.fails(nil)
		if err := g.SetUint64([]byte("term"), 2); err != nil {
			t.Fatal(err)
		}
		if last, _ := store.LastIndex(); last != 0 {
			t.Errorf("the empty log ends with %d", last)
		}
	})
}

// A node sat there for ever, without a word, when Raft could not write its term as
// it was started.
func TestANodeThatCannotStartForItsDiskSaysSo(t *testing.T) {
	disk := &shakyDisk{}
	b := newBed(t, 1, func(c *Config) {
		c.Disk = DiskConfig{WriteDeadline: 50 * time.Millisecond, Failures: 3, Fault: disk.fault}
		c.Fatal = func(error) {}
	})
	b.start(b.names...)
	b.awaitReady()
	b.kill(b.names[0])
	disk.fails(syscall.ENOSPC)
	if n, err := Open(t.Context(), b.config(b.names[0])); !errors.Is(err, ErrDisk) {
		t.Errorf("it opened: %v, %v", n != nil, err)
	}
}

// The heartbeats of a leader go on when its disk hangs; it must not.
func TestALeaderWhoseDiskStallsStepsDown(t *testing.T) {
	b, disks, _ := shakyBed(t, DiskConfig{WriteDeadline: 300 * time.Millisecond, Failures: 1000})
	leader, other := b.leader(), b.follower()
	mend := disks[leader.cfg.Name].stalls()
	propose(t, other, register(1))
	if now := b.leader(); now == leader {
		t.Errorf("%s still leads", leader.Name())
	}
	if h := leader.DiskHealth(); h.Stalls == 0 {
		t.Errorf("no stall was counted: %+v", h)
	}
	mend()
	b.awaitEqual(3)
}

func TestANodeWithAFullDiskEndsAndComesBack(t *testing.T) {
	b, disks, died := shakyBed(t, DiskConfig{WriteDeadline: 300 * time.Millisecond, Failures: 5})
	name, other := b.leader().cfg.Name, b.follower()
	disks[name].fails(fmt.Errorf("write raft.db: %w", syscall.ENOSPC))
	var why error
	for i := 1; why == nil && i < 300; i++ {
		propose(t, other, register(i))
		select {
		case why = <-died:
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !errors.Is(why, ErrDisk) || !errors.Is(why, syscall.ENOSPC) {
		t.Fatalf("the node ended with: %v", why)
	}
	disks[name].fails(nil)
	_ = b.nodes[name].storage.close() // as the end of its process does
	b.kill(name)
	b.start(name)
	b.awaitReady()
	b.awaitEqual(3)
}

// After a failed sync the kernel has forgotten what it could not write: the next
// one would say that all is well.
func TestANodeIsGivenUpAtOnceAfterAnInputOutputError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		disk.fails(fmt.Errorf("sync raft.db: %w", syscall.EIO))
		if err := g.StoreLogs(entries(1, 1)); !errors.Is(err, syscall.EIO) || !errors.Is(died(), ErrDisk) {
			t.Errorf("the write gave %v; died of %v", err, died())
		}
		disk.fails(nil)
		if err := g.StoreLogs(entries(1, 1)); !errors.Is(err, ErrDisk) {
			t.Errorf("a write after that gave %v", err)
		}
		if last, _ := store.LastIndex(); last != 0 {
			t.Errorf("last index %d", last)
		}
	})
}

// It came when nobody waited for it any more, and the next write was told as good.
func TestALateInputOutputErrorGivesTheNodeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		mend := disk.stalls()
		disk.fails(syscall.EIO)
		if err := g.StoreLogs(entries(1, 1)); !errors.Is(err, errStalled) || died() != nil {
			t.Fatalf("the write gave %v; died of %v", err, died())
		}
		mend()
		disk.fails(nil)
		synctest.Wait()
		if err := g.StoreLogs(entries(1, 1)); !errors.Is(err, ErrDisk) || !errors.Is(died(), syscall.EIO) {
			t.Errorf("a write after that gave %v; died of %v", err, died())
		}
		if last, _ := store.LastIndex(); last != 0 {
			t.Errorf("last index %d", last)
		}
	})
}

// It stood for election against a leader whose heartbeats it answered.
func TestAFollowerWaitsForItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, died := guarded(t)
		leads := false
		is := func() bool { return leads }
		g.leads.Store(&is)
		mend := disk.stalls()
		time.AfterFunc(2*g.cfg.WriteDeadline, mend)
		if err := g.StoreLogs(entries(1, 1)); err != nil || died() != nil {
			t.Errorf("a follower's write: %v; died of %v", err, died())
		}
		if last, _ := store.LastIndex(); last != 1 {
			t.Errorf("last index %d", last)
		}
		leads, mend = true, disk.stalls()
		if err := g.StoreLogs(entries(1, 2)[1:]); !errors.Is(err, errStalled) {
			t.Errorf("a leader's write: %v", err)
		}
		mend()
	})
}

// It was told as not done, and was done when the disk went on: Raft went by entries
// that were gone.
func TestATruncationThatNobodyWaitsForIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store, disk, _ := guarded(t)
		if err := g.StoreLogs(entries(1, 5)); err != nil {
			t.Fatal(err)
		}
		mend := disk.stalls()
		if err := g.DeleteRange(3, 5); !errors.Is(err, ErrDisk) {
			t.Errorf("the truncation gave %v", err)
		}
		mend()
		synctest.Wait()
		if last, _ := store.LastIndex(); last != 5 {
			t.Errorf("last index %d, want 5", last)
		}
	})
}

// A node whose disk hangs in a write that nobody waits for any more could not be
// closed.
func TestAWriteThatHangsGivesTheNodeUpThoughNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, disk, died := guarded(t)
		mend := disk.stalls()
		if err := g.StoreLogs(entries(1, 1)); !errors.Is(err, errStalled) || died() != nil {
			t.Errorf("the write gave %v; died of %v", err, died())
		}
		<-g.dead
		if !errors.Is(died(), ErrDisk) {
			t.Errorf("died of %v", died())
		}
		mend()
	})
}
