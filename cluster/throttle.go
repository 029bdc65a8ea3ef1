package cluster

import (
	"math"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	// throttleFor is how long a node believes that the leader is saturated after a
	// refusal, and throttleEvery how often it counts anew.
	throttleFor   = time.Second
	throttleEvery = 250 * time.Millisecond
	// inheritFor is for how long a node that comes to lead goes on as saturated: an
	// election takes its time.
	inheritFor = 15 * time.Second
	// askedPerTaken is how much more a node asks the leader for than the leader takes:
	// enough to notice when it takes more.
	askedPerTaken = 2
	askedAtLeast  = 8
	everything    = math.MaxInt // may be asked for while what it takes is not known
)

// throttle refuses new runs at the node that is called while the leader refuses
// most of them, so that an overload costs the leader nothing. Its owner guards it.
type throttle struct {
	refusedAt time.Time     // the leader's latest refusal
	advice    time.Duration // of the leader
	began     time.Time
	came      int // calls, since it began
	asked     int // of those went to the leader
	taken     int // calls that the leader took
	pace      int // as taken, smoothed
	most      int // may go to the leader
	total     int64
}

// admit reports whether a call may go to the leader.
func (t *throttle) admit(now time.Time) bool {
	if t.refusedAt.IsZero() || now.Sub(t.refusedAt) > throttleFor {
		return true
	}
	if now.Sub(t.began) >= throttleEvery {
		t.learn()
		t.advice = max(t.advice, min(time.Duration(t.came/max(1, t.pace))*time.Second, mostAdvice))
		t.most = askedAtLeast + askedPerTaken*t.pace
		t.began, t.came, t.asked, t.taken = now, 0, 0, 0
	}
	t.came++
	if t.asked >= t.most {
		t.total++
		return false
	}
	t.asked++
	return true
}

// learn notes what the leader took in the time that ends. A leader that stands still for a
// moment takes less for that moment only: a time in which it took more counts for half,
// one in which it took less for a quarter.
func (t *throttle) learn() {
	switch more := t.taken - t.pace; {
	case t.most == everything:
		t.pace = t.taken
	case more > 0:
		t.pace += (more + 1) / 2
	default:
		t.pace += (more - 3) / 4 // down to what it took, in the end
	}
}

// refused notes that the leader is saturated.
func (t *throttle) refused(advice time.Duration, now time.Time) {
	if t.refusedAt.IsZero() || now.Sub(t.refusedAt) > throttleFor {
		t.began, t.came, t.asked, t.taken, t.most = now, 0, 0, 0, everything
	}
	t.refusedAt, t.advice = now, advice
}

// saturated reports whether the leader has refused new runs lately.
func (t *throttle) saturated(now time.Time) bool {
	return !t.refusedAt.IsZero() && now.Sub(t.refusedAt) <= throttleFor
}

// inherits reports whether the node would begin to lead as saturated.
func (t *throttle) inherits(now time.Time) bool {
	return !t.refusedAt.IsZero() && now.Sub(t.refusedAt) <= inheritFor
}

// throttled reports whether a node may refuse the command by itself. Whether events
// start runs, and whether a run is a child of another, is for the leader to say.
func throttled(cmd fsm.Command) bool {
	switch k := cmd.GetKind().(type) {
	case *limpetv1.Command_TriggerRuns:
		for _, r := range k.TriggerRuns.GetRuns() {
			if r.GetParentTaskRunId() != "" {
				return false
			}
		}
		return true
	case *limpetv1.Command_ReplayTasks:
		return true
	}
	return false
}
