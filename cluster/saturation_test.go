package cluster

import (
	"testing"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// loaded is a leader as its saturation sees it, in a time of its own: every 50 ms it
// makes an entry.
type loaded struct {
	*saturation
	now                         time.Time
	slots, queued               int
	asked, let, refused, ending int
	reports                     int // of an entry
	inside                      time.Duration
}

const entryEvery = 50 * time.Millisecond

func newLoaded(slots int) *loaded {
	now := time.Unix(1, 0)
	return &loaded{saturation: newSaturation(fsm.Counts{}, now), now: now, slots: slots}
}

// entry is one: so many runs are asked for, one by one, and so many of those that
// workers have come to their end.
func (l *loaded) entry(ask, end int) {
	for range ask {
		l.asked++
		if l.admit(1, false, l.now) {
			l.let++
		} else {
			l.refused++
		}
	}
	live := l.let - l.ending
	end = min(end, live, l.slots)
	l.ending += end
	live -= end
	held := min(live, l.slots)
	l.queued = live - held
	l.now = l.now.Add(entryEvery)
	l.drafted(end, fsm.Counts{LiveRuns: live, Queued: l.queued, Held: held}, l.now)
	l.answered(l.reports, time.Duration(l.reports)*l.inside, l.now)
}

func (l *loaded) seconds(n, ask, end int) {
	for range n * int(time.Second/entryEvery) {
		l.entry(ask, end)
	}
}

// busyLeader is one that 500 task runs wait for, whatever it does: 2,000 runs end a
// second.
func busyLeader() *loaded {
	l := newLoaded(500)
	l.reports, l.inside = 20, 5*time.Millisecond
	l.seconds(10, 10, 10) // an ordinary load comes before
	l.reports, l.inside = 200, 60*time.Millisecond
	return l
}

func TestALeaderThatHoldsUpItsWorkersLetsInWhatEnds(t *testing.T) {
	l := busyLeader()
	if l.refused != 0 {
		t.Fatalf("%d refused of an ordinary load", l.refused)
	}
	l.seconds(1, 600, 100)
	if !l.on {
		t.Fatalf("not saturated after a second: %.2f held up, %d wait", l.share, l.queued)
	}
	l.seconds(9, 600, 100)
	most := 3 * 2000
	if l.queued > most {
		t.Errorf("after 10 s %d wait, more than %d", l.queued, most)
	}
	before, ended := l.let, l.ending
	l.seconds(590, 600, 100)
	if l.queued > most {
		t.Errorf("after 10 min %d wait, more than %d", l.queued, most)
	}
	if let, end := l.let-before, l.ending-ended; let > end+most || let < end/2 {
		t.Errorf("%d were let in while %d ended", let, end)
	}
	if got := l.advice(); got < 3*time.Second || got > mostAdvice {
		t.Errorf("at six times what ends the advice is %v", got)
	}
	if i := l.info(l.now); !i.Saturated || i.Refused != int64(l.refused) || i.EndsPerSecond < 1500 {
		t.Errorf("it says of itself %+v, with %d refused", i, l.refused)
	}

	// It is over at once when less is asked for.
	l.refused = 0
	l.seconds(2, 20, 100)
	if l.on || l.refused > 0 {
		t.Errorf("two seconds later it is still saturated (%v), and refused %d", l.on, l.refused)
	}
}

func TestSlowWorkersAreNoSaturation(t *testing.T) {
	for _, end := range []int{0, 1} {
		l := newLoaded(1)
		l.reports, l.inside = 0, 0
		for i := range 200 { // 100,000 runs in ten seconds
			l.reports, l.inside = 0, 0
			if end > 0 && i%60 == 59 {
				l.reports, l.inside = 2, 150*time.Millisecond // the leader is slow too
			}
			l.entry(500, l.reports/2)
		}
		if l.refused != 0 || l.on {
			t.Errorf("ends %d: %d of %d runs for one slow worker were refused", end, l.refused, l.asked)
		}
	}
	l := newLoaded(500)
	l.reports, l.inside = 50, 50*time.Millisecond // 500 slots for tasks of a second
	l.seconds(20, 600, 25)
	if l.refused != 0 {
		t.Errorf("%d of %d runs for workers that are full were refused", l.refused, l.asked)
	}
}

// TestAClosedLoopIsNeverRefused: whoever asks for a run when another has ended does
// not overload anything, however long it takes.
func TestAClosedLoopIsNeverRefused(t *testing.T) {
	for _, outstanding := range []int{64, 256, 1024, 2048} {
		l := busyLeader()
		l.entry(outstanding, 0)
		for range 2000 {
			ended := l.ending
			l.entry(0, 100)
			l.entry(l.ending-ended, 0)
		}
		if l.refused != 0 {
			t.Errorf("%d runs in flight: %d refused", outstanding, l.refused)
		}
	}
}

// TestADiskThatIsSlowIsNoSaturation: reports take long there, whatever the load.
func TestADiskThatIsSlowIsNoSaturation(t *testing.T) {
	l := newLoaded(10)
	l.reports, l.inside = 4, 15*time.Millisecond
	l.seconds(10, 2, 2)
	l.inside = 40 * time.Millisecond
	l.seconds(60, 100, 2)
	if l.refused != 0 {
		t.Errorf("%d of %d refused", l.refused, l.asked)
	}
}

func TestASingleStallIsNoSaturation(t *testing.T) {
	l := busyLeader()
	l.reports, l.inside = 20, 5*time.Millisecond
	l.seconds(5, 100, 100)
	l.entry(2000, 0)
	l.reports, l.inside = 500, 2*time.Second
	l.now = l.now.Add(2 * time.Second)
	l.entry(4000, 250)
	l.reports, l.inside = 200, 8*time.Millisecond
	l.seconds(5, 100, 300)
	if l.refused != 0 {
		t.Errorf("%d refused", l.refused)
	}
}

func TestASaturationWithoutEndsLocksNothingUp(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	if !l.on {
		t.Fatal("not saturated")
	}
	// Reports come and nothing ends: a little is let in.
	let := l.let
	l.seconds(60, 600, 0)
	if got := l.let - let; got < 30*leastRate || got > 120*leastRate {
		t.Errorf("%d runs were let in within a minute without an end", got)
	}
	// No report comes: the workers are gone, and what comes waits for others.
	l.reports, l.inside = 0, 0
	l.seconds(5, 600, 0)
	if l.refused = 0; l.on {
		t.Error("still saturated without any report")
	}
	l.seconds(60, 600, 0)
	if l.refused != 0 {
		t.Errorf("%d refused", l.refused)
	}
}

func TestWhatMustComeInIsNotRefused(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	for l.admit(1, false, l.now) { //nolint:revive // until there is no room
	}
	for range 100_000 {
		if !l.admit(1, true, l.now) {
			t.Fatal("a child was refused")
		}
	}
	if l.admit(1, false, l.now) {
		t.Error("children took no room")
	}
	if l.room < -l.burst() {
		t.Errorf("children took room for ever: %.0f", l.room)
	}
	l.seconds(3, 20, 100)
	refused := l.refused
	l.seconds(1, 20, 100)
	if l.refused != refused {
		t.Errorf("%d refused three seconds after the last child", l.refused-refused)
	}
}
