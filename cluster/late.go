package cluster

import (
	"slices"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// lateFor is how long the report that a task has started waits before it is sent. None
// of the SDKs that are tested waits for its answer before the task begins; that the task
// runs is seen so much later.
const lateFor = 5 * time.Millisecond

// late is the reports that a task has started, while they wait for the report of its
// end: of a task that is short, no entry needs to say that it has begun. Whichever of
// the two comes first, the end answers both.
type late struct {
	list []lateReport // the oldest first; also of those that are not late any more
	// about has what waits about an attempt: the report of its end, or a late one.
	about map[attempt]*waiter
}

type lateReport struct {
	*waiter

	due time.Time
}

// attempt is what a report is about.
type attempt struct {
	tenant, task string
	number       int32
}

func newLate() late { return late{about: map[attempt]*waiter{}} }

// reported is what a report of a start, or of an end, is about. One that names no
// attempt (-1) is about none: which it means is known only when it is applied.
func reported(cmd fsm.Command) (about attempt, starts, ends bool) {
	switch k := cmd.GetKind().(type) {
	case *limpetv1.Command_ReportStarted:
		about, starts = attempt{k.ReportStarted.GetTenantId(), k.ReportStarted.GetTaskRunId(), k.ReportStarted.GetAttempt()}, true
	case *limpetv1.Command_ReportCompleted:
		about, ends = attempt{k.ReportCompleted.GetTenantId(), k.ReportCompleted.GetTaskRunId(), k.ReportCompleted.GetAttempt()}, true
	case *limpetv1.Command_ReportFailed:
		about, ends = attempt{k.ReportFailed.GetTenantId(), k.ReportFailed.GetTaskRunId(), k.ReportFailed.GetAttempt()}, true
	case *limpetv1.Command_ReportCancelled:
		about, ends = attempt{k.ReportCancelled.GetTenantId(), k.ReportCancelled.GetTaskRunId(), k.ReportCancelled.GetAttempt()}, true
	}
	if about.number < 0 {
		return attempt{}, false, false
	}
	return about, starts, ends
}

// place is where a command goes that is new.
type place int

const (
	atOnce place = iota // to be sent
	isLate              // to be sent when it is due
	riding              // nowhere: another answers it
)

// place finds a command's place, and takes it there if that is not to be sent at once.
// It gives the late report that rides on it from now on; nil for none.
func (l *late) place(w *waiter, at time.Time) (place, *waiter) {
	about, starts, ends := reported(w.cmd)
	before := l.about[about]
	switch {
	case starts && before != nil:
		for before.rider != nil {
			before = before.rider
		}
		before.rider, w.carrier = w, before
		return riding, nil
	case starts:
		w.late = true
		l.about[about] = w
		l.list = append(l.list, lateReport{w, at.Add(lateFor)})
		return isLate, nil
	case ends && before == nil:
		l.about[about] = w
	case ends && before.late:
		l.about[about] = w
		before.late, before.carrier, w.rider = false, w, before
		return atOnce, before
	}
	return atOnce, nil
}

// forget drops what is over, or sent.
func (l *late) forget(w *waiter) {
	if about, starts, ends := reported(w.cmd); (starts || ends) && l.about[about] == w {
		delete(l.about, about)
	}
}

// wait says for how long none is due; nothing if there is none.
func (l *late) wait(at time.Time) time.Duration {
	if len(l.list) == 0 {
		return nothing
	}
	return max(0, l.list[0].due.Sub(at))
}

// before gives the late reports that go before a command, and are not late any more:
// who listens to a run hears that a task has begun before anything that it says.
func (l *late) before(cmd fsm.Command) (list []*waiter) {
	k, ok := cmd.GetKind().(*limpetv1.Command_PutChunks)
	if !ok || len(l.list) == 0 {
		return nil
	}
	for _, c := range k.PutChunks.GetChunks() {
		for _, w := range l.list {
			if s := w.cmd.GetReportStarted(); w.late && !w.over && s.GetTaskRunId() == c.GetTaskRunId() && s.GetTenantId() == k.PutChunks.GetTenantId() {
				list = append(list, l.ripen(w.waiter))
			}
		}
	}
	return list
}

// ripen takes a report that is late no more.
func (l *late) ripen(w *waiter) *waiter {
	w.late = false
	l.forget(w)
	return w
}

// due gives those that are due, and are not late any more.
func (l *late) due(at time.Time) (list []*waiter) {
	n := 0
	for n < len(l.list) && !l.list[n].due.After(at) {
		if w := l.list[n].waiter; w.late && !w.over {
			list = append(list, l.ripen(w))
		}
		n++
	}
	l.list = slices.Delete(l.list, 0, n)
	return list
}
