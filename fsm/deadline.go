package fsm

import "time"

// fireDeadlines lets at most MaxDeadlines due deadlines take effect, oldest
// first, and gives their number.
func (m *Machine) fireDeadlines() int {
	s, fired := m.st, 0
	for fired < MaxDeadlines {
		k, ok := s.deadlines.Min()
		if !ok || k.at > s.stamp.Instant {
			break
		}
		fired++
		t, ok := s.tasks.Get(k.task)
		if !ok {
			s.deadlines.Delete(k)
			continue
		}
		m.fire(t)
		m.heedLosses()
	}
	return fired + m.fireTimers(MaxDeadlines-fired)
}

func (m *Machine) fire(t *TaskRun) {
	s, now := m.st, m.st.stamp.Instant
	switch t.Status {
	case Backoff:
		n := *t
		m.enqueue(&n)
	case Queued:
		if now < t.ScheduleBy {
			m.impatient(t)
			return
		}
		m.finish(t, Failed, nil, m.scheduleTimeout(t))
	case Assigned:
		m.requeue(t, "its worker did not say STARTED within "+s.settings.DeliveryTimeout.String())
	case Running:
		m.fail(t, "TIMED_OUT: Task exceeded timeout of "+or(s.taskOf(t).ExecutionTimeout, s.settings.ExecutionTimeout).String(), false)
	case Blocked:
		m.slept(t)
	case Completed, Failed, Cancelled, Skipped:
		// No deadline is ever set in these states.
		n := *t
		n.Deadline = 0
		s.setTask(&n)
	}
}

// impatient ends the wait of a SOFT task run for its pinned worker. While the
// worker is only suspect the wait goes on: its state is still in its memory.
func (m *Machine) impatient(t *TaskRun) {
	s, n := m.st, *t
	n.Overflow, n.Deadline = true, t.ScheduleBy
	if p, ok := s.pins.Get(t.Run); ok {
		if w, known := s.workers.Get(p.Worker); known && w.Lease.State == LeaseSuspect && !w.Unavailable() {
			n.Overflow = false
			n.Deadline = min(t.ScheduleBy, s.stamp.Instant.Add(s.settings.SoftPatience))
		}
	}
	s.setTask(&n)
}

// scheduleTimeout is the error of a task run that no worker took in time. It is
// never empty: an empty error reads as success to some SDKs.
func (m *Machine) scheduleTimeout(t *TaskRun) string {
	s := m.st
	waited := or(s.taskOf(t).ScheduleTimeout, s.settings.ScheduleTimeout)
	code, text := View{st: s}.WaitReason(t)
	return "SCHEDULE_TIMEOUT: task " + itoq(s.taskOf(t).Name) + " waited " + waited.String() +
		" for a worker, which is its schedule timeout; " + code + ": " + text
}

// NextDeadline gives the earliest deadline that is still to fire.
func (v View) NextDeadline() (Instant, bool) {
	k, ok := v.st.deadlines.Min()
	if w, timed := v.st.timers.Min(); timed && (!ok || w.at < k.at) {
		return w.at, true
	}
	return k.at, ok
}

// round makes a duration readable.
func round(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
