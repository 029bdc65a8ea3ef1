package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	// lookEvery is how often the leader asks itself whether it is what holds the
	// runs up, and busyLooks is how often in a row it must say so.
	lookEvery = 250 * time.Millisecond
	busyLooks = 2
	// longLook is how long a look waits for a report: a leader that is far behind
	// makes few entries.
	longLook = time.Second
	// calmFor without a refusal ends a saturation, or with workers that are held up by
	// something else. Nodes ask for little more than the leader took lately, and may ask
	// for less after a stall: it is long enough for them to ask for all again, and to use
	// up the room that there is by then if they want half as much more than ends.
	calmFor = 3 * throttleFor

	// slowReport is from where on, and slowTimes the least that there was, a report
	// is slow: entries that take long because the disk does are no sign of load.
	slowReport = 20 * time.Millisecond
	slowTimes  = 3
	quickStart = 10 * time.Millisecond // the least if none was seen while nothing waited
	// heldUp is the part of the task runs with workers whose report is inside the
	// leader, from where on the leader is what holds them up; freeAgain is where it
	// no longer is.
	heldUp    = 0.12
	freeAgain = 0.04
	// slowFree is where it no longer is if its reports are slow as ever.
	slowFree = 0.01
	// settle is how slowly a longer queue is taken for the ordinary one, in looks.
	settle = 32

	// longWait is from where on a leader is behind whatever workers do, if commands
	// have waited so long in every entry of a look.
	longWait = 250 * time.Millisecond

	// leastBurst is how many runs are let in at least before an end is waited for.
	leastBurst = 2048
	// leastRate is how many runs a second are let in whatever ends.
	leastRate = 16
	// drainShare of the ends are replaced by new runs while runs are refused and more
	// waits, of what came since the ordinary, than ends in a second.
	drainShare = 0.5
	// vainLooks in a row in which no less waited for that, by vainPart of what ended, show
	// that it waits for something else: it is ordinary from then on.
	vainLooks = 8
	vainPart  = 0.125

	mostAdvice = 10 * time.Second
)

// saturation is the leader's judgement whether it brings fewer runs to their end
// than it is asked to take in, and what it lets in while that is so: as much as
// ends. A trigger costs less than the rest of a run's life, so a leader that took
// in all that it can would end ever less.
//
// That many task runs wait is no sign of it: workers may be few, or slow. The sign
// is that workers wait for the leader. By Little's law the time that reports spend
// inside it, a second, is how many are inside it at a time; if that is a good part
// of all task runs that workers hold, and the time of each is long for this leader,
// it is the leader that holds them up. A leader that is far behind with everything is
// saturated too.
type saturation struct {
	// told is called when it begins and ends, with the ends a second; may be nil.
	told func(on bool, rate float64)
	// disk gives how many writes of the log this node has made, and how long all of
	// them took; may be nil.
	disk func() (writes uint64, spent time.Duration)

	mu sync.Mutex
	on bool

	// Of the look that goes on.
	began   time.Time
	reports int           // that were answered
	inside  time.Duration // their time in the leader, added up
	entries int
	wait    time.Duration // the least of the longest waits of an entry
	ended   int           // runs
	came    int           // runs that were asked for
	refused int           // of those
	writes  uint64        // of the log, before it
	spent   time.Duration // on those

	// Of the latest entry.
	queued, held int

	flying int  // entries that are not in the log yet
	denied bool // runs were refused in the latest look
	before int  // task runs that waited then
	vain   int  // looks in a row that let in half of what ended, in vain

	rate  float64       // ends a second, smoothed
	share float64       // of the held task runs that are held up, smoothed
	least time.Duration // the least mean time of a report; 0 if none is known
	busy  int           // looks in a row that found the leader at fault
	calm  time.Duration // of looks in a row that did not, or refused nothing
	base  float64       // task runs that wait, as a rule
	room  float64       // runs that may come in
	ask   float64       // runs asked for, for each one let in, smoothed

	total *atomic.Int64 // runs refused, by this node in all its reigns
}

// newSaturation begins with the state that the leader starts from. What waits then
// is not known to be ordinary.
func newSaturation(c fsm.Counts, now time.Time) *saturation {
	return &saturation{began: now, queued: c.Queued, held: c.Held, room: leastBurst, ask: 1, total: new(atomic.Int64)}
}

// admit reports whether so many new runs may come in. Those that must come in
// count nonetheless, and others wait for them.
func (s *saturation) admit(runs int, must bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look(now)
	s.came += runs
	if !s.on {
		return true
	}
	if !must && s.room <= 0 {
		s.refused += runs
		s.total.Add(int64(runs))
		return false
	}
	s.room = max(s.room-float64(runs), -s.burst())
	return true
}

// drafted notes what an entry gives on the leader's head, and how long the oldest of
// its commands had waited.
func (s *saturation) drafted(ended int, wait time.Duration, c fsm.Counts, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == 0 || wait < s.wait {
		s.wait = wait
	}
	s.entries++
	s.flying++
	s.queued, s.held = c.Queued, c.Held
	s.ended += ended
	if s.on {
		gain := 1.0
		if s.drains() {
			gain = drainShare
		}
		s.room = min(s.room+gain*float64(ended), s.burst())
	}
	s.look(now)
}

// endsIn counts the runs that an entry brings to their end.
func endsIn(effects []fsm.Effect) (ended int) {
	for i := range effects {
		if effects[i].Kind == fsm.RunFinished {
			ended++
		}
	}
	return ended
}

// answered notes that an entry was applied, and how long its reports were inside.
func (s *saturation) answered(reports int, inside time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying--
	s.reports += reports
	s.inside += inside
	s.look(now)
}

// burst is how much room there may be at a time. The caller holds mu, here and below.
func (s *saturation) burst() float64 { return max(leastBurst, s.rate/2) }

// excess is how many more task runs wait than as a rule.
func (s *saturation) excess() float64 { return float64(s.queued) - s.base }

// drains reports whether less is let in than ends.
func (s *saturation) drains() bool { return s.denied && s.excess() > s.rate }

// look judges what happened since the last time, if that is long enough ago.
func (s *saturation) look(now time.Time) {
	took := now.Sub(s.began)
	if took < lookEvery || s.reports == 0 && took < longLook {
		return
	}
	s.rate += (float64(s.ended)/took.Seconds() - s.rate) / 2
	share, slow := s.burden(took, s.write())
	s.share += (share - s.share) / 2
	if s.on {
		s.room = min(s.room+leastRate*took.Seconds(), s.burst())
		s.ask += (float64(s.came)/float64(max(1, s.came-s.refused)) - s.ask) / 2
		s.drained()
		s.stay(slow, took)
	} else {
		s.enter((slow && s.share >= heldUp || s.wait >= longWait) && s.queued > 0)
	}
	s.began, s.reports, s.inside, s.entries, s.wait, s.ended, s.came, s.refused = now, 0, 0, 0, 0, 0, 0, 0
}

// write gives how long a write of the log took since the last time.
func (s *saturation) write() time.Duration {
	if s.disk == nil {
		return 0
	}
	writes, spent := s.disk()
	n, took := writes-s.writes, spent-s.spent
	s.writes, s.spent = writes, spent
	if n == 0 {
		return 0
	}
	return took / time.Duration(n) //nolint:gosec // a few hundred
}

// burden gives the part of the held task runs whose reports are inside the leader,
// and whether each is there for long. A report waits for the write of the entry
// before it, and for its own: that time is the disk's and not the leader's.
func (s *saturation) burden(took, write time.Duration) (share float64, slow bool) {
	if s.reports == 0 {
		return 0, false
	}
	mean := max(0, s.inside/time.Duration(s.reports)-2*write)
	if s.least == 0 {
		if s.least = quickStart; s.queued == 0 {
			s.least = mean
		}
	}
	slow = mean >= slowReport && mean >= slowTimes*s.least
	if !s.on {
		const drift = 512 // it is forgotten slowly: the machine may have changed
		s.least = min(s.least+s.least/drift, mean)
	}
	return s.inside.Seconds() / took.Seconds() / float64(max(1, s.held)), slow
}

// goOn begins as an earlier leader ended: saturated, until it proves otherwise.
func (s *saturation) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.share, s.room = true, heldUp, 0
	s.tell()
}

// enter counts a look while all is taken.
func (s *saturation) enter(busy bool) {
	if !busy {
		s.busy = 0
		s.base += max(0, s.excess()/settle)
		s.base = min(s.base, float64(s.queued))
		return
	}
	if s.busy++; s.busy >= busyLooks {
		s.on, s.calm, s.room, s.ask = true, 0, max(0, s.burst()-s.excess()), 1
		s.denied, s.before, s.vain = true, s.queued, 0
		s.tell()
	}
}

// drained looks at what came of letting in less than ended. What waits for workers that
// are gone or slow does not go away by that, and would hold up for ever what does not.
func (s *saturation) drained() {
	switch {
	case !s.drains(), float64(s.before-s.queued) >= max(1, vainPart*float64(s.ended)):
		s.vain = 0
	case s.ended > 0:
		if s.vain++; s.vain >= vainLooks {
			s.base, s.vain = float64(s.queued), 0
		}
	}
	s.denied, s.before = s.refused > 0, s.queued
}

// stay counts a look while runs are refused. What is let in then keeps reports quick,
// so that they are is no reason to let in more; that it is not asked for is one, or
// that workers are held up by something else. While an entry does not get into the log
// nothing is learned.
func (s *saturation) stay(slow bool, took time.Duration) {
	stalled := s.entries == 0 && s.flying > 0
	if s.refused > 0 && (stalled || s.share >= freeAgain || slow && s.share >= slowFree || s.wait >= longWait) {
		s.calm = 0
		return
	}
	if s.calm += min(took, longLook); s.calm >= calmFor {
		s.on, s.busy = false, 0
		s.tell()
	}
}

func (s *saturation) tell() {
	if s.told != nil {
		s.told(s.on, s.rate)
	}
}

// advice is how long who is refused should wait.
func (s *saturation) advice() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(time.Duration(s.ask)*time.Second, time.Second), mostAdvice)
}

// info says how the leader is now.
func (s *saturation) info(now time.Time) LoadInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look(now)
	return LoadInfo{Leads: true, Saturated: s.on, Refused: s.total.Load(), EndsPerSecond: s.rate}
}

// freshRuns counts the runs that a command asks for, and says whether it must be
// taken: children of runs that are under way are, or their parents could not end.
// Events count only if they start runs, for tasks may wait for them.
func freshRuns(cmd fsm.Command, view func() fsm.View) (runs int, must bool) {
	switch k := cmd.GetKind().(type) {
	case *limpetv1.Command_TriggerRuns:
		must = true
		for _, r := range k.TriggerRuns.GetRuns() {
			must = must && r.GetParentTaskRunId() != ""
		}
		return len(k.TriggerRuns.GetRuns()), must
	case *limpetv1.Command_ReplayTasks:
		return len(k.ReplayTasks.GetIds()), false
	case *limpetv1.Command_PushEvents:
		v := view()
		for _, e := range k.PushEvents.GetEvents() {
			runs += v.StartedBy(fsm.TenantID(k.PushEvents.GetTenantId()), e.GetKey())
		}
		return runs, runs == 0
	}
	return 0, true
}

// LoadInfo says how a node sees the load of the leader, itself or another.
type LoadInfo struct {
	Leads bool
	// Saturated: new runs are let in only as others end.
	Saturated bool
	// Refused is how many calls the node refused for that by itself, and while it led
	// how many runs, of all nodes.
	Refused int64
	// Repeats is how many commands of this node had no result within ResendAfter, and
	// were put up to be sent again.
	Repeats int64
	// EndsPerSecond is runs; known to the leader only.
	EndsPerSecond float64
}

// Load says how this node sees the load.
func (n *Node) Load() LoadInfo {
	i := n.forward.load()
	i.Refused += n.refused.Load()
	if r := n.current.Load(); r != nil {
		own := r.proposer.load.info(time.Now())
		own.Refused, own.Repeats = i.Refused, i.Repeats
		return own
	}
	return i
}

// SaturatedError says that the leader has more to do than it can bring to an end. It
// wraps ErrOverloaded: nothing was done.
type SaturatedError struct {
	// After is how long to wait before the next try.
	After time.Duration
}

// Error says what is the matter and what to do.
func (e *SaturatedError) Error() string {
	return fmt.Sprintf("%v: the cluster is asked for more runs than it can bring to an end; try again in %v", ErrOverloaded, e.After)
}

// Unwrap gives ErrOverloaded.
func (e *SaturatedError) Unwrap() error { return ErrOverloaded }
