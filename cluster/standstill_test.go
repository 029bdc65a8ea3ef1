package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-dev/limpet/cluster/awake"
)

// A leader that was frozen for half a minute, and still leads because others were
// frozen too, timed the tasks out that had run meanwhile.
func TestAStandstillOfTheLeaderIsNoClusterTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a awake.Clock
		c := newClusterClock(1000, 0, time.Now, a.Now)
		live := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(awake.Tick) {
				a.Now()
			}
		}
		live(5 * time.Second)
		before := c.stamp().Instant
		if want := int64(1000 + 5*time.Second); int64(before) != want {
			t.Fatalf("after 5s awake it is %d, want %d", before, want)
		}
		time.Sleep(30 * time.Second) // nothing reads the clock
		if got := c.stamp().Instant.Sub(before); got > awake.Stall {
			t.Errorf("a standstill of 30s counts as %v", got)
		}
		live(time.Second)
		if got := c.stamp().Instant.Sub(before); got < time.Second || got > time.Second+awake.Stall {
			t.Errorf("the second after it counts as %v", got)
		}
	})
}

// A follower of a leader that was frozen for half a minute heard from it again,
// and then led: it took the half minute for time under a leader.
func TestAGapBetweenTwoContactsIsNotLed(t *testing.T) {
	start := time.Now()
	c := contact{opened: start}
	hear := func(from, to time.Duration) {
		for d := from; d <= to; d += awake.Tick {
			c.note(start.Add(d))
		}
	}
	hear(0, 5*time.Second)
	applied := c.led(start.Add(5 * time.Second))
	hear(35*time.Second, 37*time.Second)
	if got := c.since(applied); got != 2*time.Second {
		t.Errorf("2s of contact after a gap of 30s count as %v", got)
	}
}
