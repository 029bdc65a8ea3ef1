package fsm

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const drainedReason = "it has drained"

// setWorkerMode pauses, drains or resumes a worker. A drain that is asked for
// again keeps the earlier of its deadlines.
func (m *Machine) setWorkerMode(c *limpetv1.SetWorkerMode) (Result, *Refusal) {
	w, no := m.workerOf(c.GetTenantId(), c.GetWorkerId())
	if no != nil {
		return Result{}, no
	}
	mode := Mode(c.GetMode())
	switch {
	case c.GetMode() < 0 || mode > ModeDraining:
		return Result{}, refuse(CodeInvalid, "mode", itoa(c.GetMode()), "must be active, paused or draining", "")
	case c.GetDeadline() < 0:
		return Result{}, refuse(CodeInvalid, "deadline", time.Duration(c.GetDeadline()).String(), "must not be negative", "0 is for none")
	}
	if no := w.Replaced(c.GetIncarnation()); no != nil {
		return Result{}, no
	}
	if c.GetByWorker() && !w.OwnMode && mode < w.Mode {
		return Result{}, refuse(CodeConflict, "mode", mode.String(), "an operator has the worker "+w.Mode.String()+", and it asks for less", "`limpet worker resume` undoes it")
	}
	n := *w
	if mode != w.Mode {
		n.DrainBy, n.Drained = 0, false
	}
	// What an operator asked for stays an operator's, though the worker asks too.
	n.Mode, n.OwnMode = mode, c.GetByWorker() && (mode != w.Mode || w.OwnMode)
	n.Paused = n.OwnMode && (w.Paused || w.Mode == ModePaused && !w.OwnMode)
	if mode != ModeDraining {
		n.DrainBy, n.Drained = 0, false
	} else if by := m.st.stamp.Instant.Add(time.Duration(c.GetDeadline())); c.GetDeadline() > 0 && !n.Drained && (n.DrainBy == 0 || by < n.DrainBy) {
		n.DrainBy = by
	}
	if mode != w.Mode {
		m.audit(&Audit{
			Tenant: w.Tenant, Actor: c.GetActor(), Action: "worker " + mode.verb(), Target: string(w.ID),
			From: w.Mode.String(), To: mode.String(), Reason: c.GetReason(),
		})
	}
	m.st.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	m.departIfDone(n.ID)
	return Result{IDs: []string{string(n.ID)}}, nil
}

// departIfDone ends the lease of a worker that said goodbye and holds nothing,
// or that drains and for which nothing is left to do.
func (m *Machine) departIfDone(id WorkerID) {
	w, ok := m.st.workers.Get(id)
	switch {
	case !ok || w.Mode != ModeDraining || w.Drained || w.Lease.State == LeaseLost:
	case w.SaidGoodbye():
		if !m.st.holds(id) {
			m.lose(w, leftReason)
		}
	case !m.st.holds(id) && !m.st.ties(id):
		n := *w
		n.Drained, n.DrainBy = true, 0
		m.lose(&n, drainedReason)
	}
}

// holds reports whether the worker holds any task run.
func (s *State) holds(id WorkerID) bool {
	held := false
	s.heldBy(id, func(*TaskRun) bool { held = true; return false })
	return held
}

// ties reports whether a live run is pinned HARD to the worker.
func (s *State) ties(id WorkerID) bool {
	tied := false
	View{st: s}.PinsOf(id)(func(p *Pin) bool {
		tied = p.Strategy == StrategyHard
		return !tied
	})
	return tied
}

// timer is when something happens to the worker by itself; 0 for never.
func (w *Worker) timer() Instant {
	at := w.QuietUntil
	if w.Mode == ModeDraining && !w.Drained && w.DrainBy != 0 && (at == 0 || w.DrainBy < at) {
		at = w.DrainBy
	}
	return at
}

// fireTimers lets what is due happen to workers, at most so much.
func (m *Machine) fireTimers(limit int) int {
	s, fired := m.st, 0
	for ; fired < limit; fired++ {
		k, ok := s.timers.Min()
		if !ok || k.at > s.stamp.Instant {
			break
		}
		w, ok := s.workers.Get(WorkerID(k.id))
		if !ok {
			s.timers.Delete(k)
			continue
		}
		n := *w
		if w.QuietUntil == k.at {
			n.QuietUntil = 0
			s.setWorker(&n)
			continue
		}
		n.DrainBy, n.Drained = 0, true
		if n.Lease.State == LeaseLost {
			s.setWorker(&n)
			continue
		}
		m.lose(&n, "the deadline of its drain has passed")
		m.heedLosses()
	}
	return fired
}

const (
	// A worker that loses its lease for the calmAfter-th time, each within
	// flapWindow of the one before, is the last choice for a while: quietFirst,
	// and twice as long each further time.
	calmAfter  = 3
	flapWindow = 10 * time.Minute
	quietFirst = 5 * time.Second
	quietMax   = 2 * time.Minute
)

// flap counts a loss that the worker did not announce.
func (w *Worker) flap(now Instant) {
	if now.Sub(w.FlapAt) > flapWindow {
		w.Flaps = 0
	}
	w.Flaps++
	w.FlapAt = now
	if over := w.Flaps - calmAfter; over >= 0 {
		w.QuietUntil = now.Add(min(quietMax, quietFirst<<min(over, 10)))
	}
}

// Blocker is what a draining worker waits for: a task run that it holds, or a
// run pinned HARD to it that has no task there now (Task is nil).
type Blocker struct {
	Run  *Run
	Task *TaskRun
	// EndsIn is when its timeout ends it; negative if nothing is sure to.
	EndsIn time.Duration
}

// Drain is how far the drain of a worker is.
type Drain struct {
	Drained bool
	// Deadline and ETA count from now; negative without one. The ETA is when the
	// last blocker has ended at the latest.
	Deadline, ETA time.Duration
	Blockers      []Blocker
}

// Drain gives how far the drain of a worker is, with at most so many blockers.
func (v View) Drain(w *Worker, limit int) Drain {
	d := Drain{Drained: w.Drained, Deadline: -1}
	if w.DrainBy != 0 {
		d.Deadline = max(0, w.DrainBy.Sub(v.Now()))
	}
	if d.Drained = w.Drained || w.Lease.State == LeaseLost && !v.st.ties(w.ID); d.Drained {
		return d
	}
	busy := map[RunID]bool{}
	add := func(b Blocker) {
		if b.EndsIn < 0 || d.ETA < 0 {
			d.ETA = -1
		} else {
			d.ETA = max(d.ETA, b.EndsIn)
		}
		if len(d.Blockers) < limit {
			d.Blockers = append(d.Blockers, b)
		}
	}
	for t := range v.Assignments(w.ID) {
		r, _ := v.Run(t.Run)
		busy[t.Run] = true
		b := Blocker{Run: r, Task: t, EndsIn: -1}
		if p, ok := v.Pin(t.Run); t.Status == Running && (!ok || p.Strategy != StrategyHard || r.Open == 1) {
			b.EndsIn = max(0, t.ExecuteBy.Sub(v.Now()))
		}
		add(b)
	}
	for p := range v.PinsOf(w.ID) {
		if r, ok := v.Run(p.Run); ok && p.Strategy == StrategyHard && !busy[p.Run] {
			add(Blocker{Run: r, EndsIn: -1})
		}
	}
	if d.Deadline >= 0 && (d.ETA < 0 || d.ETA > d.Deadline) {
		d.ETA = d.Deadline
	}
	return d
}
