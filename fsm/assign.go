package fsm

import (
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// NewAssign makes the command that gives a task run, at its present attempt, to
// a worker, at its present epoch. Reason is the scheduler's code; move asks for
// the run's pin to move there.
func NewAssign(t *TaskRun, w *Worker, reason string, move bool) Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_Assign{Assign: &limpetv1.Assign{
		TaskRunId: string(t.ID), WorkerId: string(w.ID), Attempt: t.Attempt, Epoch: w.Lease.Epoch, Reason: reason, MovePin: move,
	}}}
}

// NewBorrow makes the command that gives a task run to the worker of its parent
// task run, in whose place it takes the slots.
func NewBorrow(t *TaskRun, w *Worker, reason string) Command {
	c := NewAssign(t, w, reason, false)
	c.GetAssign().Borrow = true
	return c
}

// assign gives a queued task run to a worker, if all still holds that the
// scheduler saw. It is the only place where a pin is set by an assignment.
func (m *Machine) assign(c *limpetv1.Assign) (Result, *Refusal) {
	s := m.st
	t, ok := s.tasks.Get(TaskRunID(c.GetTaskRunId()))
	if !ok || t.Status != Queued || t.Attempt != c.GetAttempt() {
		return Result{}, refuse(CodeStale, "task_run_id", c.GetTaskRunId(), "is not queued at that attempt", "")
	}
	w, ok := s.workers.Get(WorkerID(c.GetWorkerId()))
	if !ok || w.Lease.State != LeaseLive || w.Lease.Epoch != c.GetEpoch() || w.Tenant != t.Tenant {
		return Result{}, refuse(CodeStale, "worker_id", c.GetWorkerId(), "has no live lease at that epoch", "")
	}
	def := s.taskOf(t)
	r, _ := s.runs.Get(t.Run)
	room, lender := w, (*TaskRun)(nil)
	if c.GetBorrow() {
		if lender = s.lender(t, w); lender == nil {
			return Result{}, refuse(CodeStale, "borrow", string(t.ID), "its parent has no slots to lend at the worker", "")
		}
		room = w.take(s.taskOf(lender).Slots, -1)
	}
	if why := s.rejects(room, t, def, r); why != "" {
		return Result{}, refuse(CodeStale, "worker_id", c.GetWorkerId(), why, "")
	}
	pin, calm, no := s.pinFor(w, t, c.GetMovePin())
	if no != nil {
		return Result{}, no
	}
	n := *t
	n.Status, n.Worker, n.Epoch, n.Reason = Assigned, w.ID, w.Lease.Epoch, c.GetReason()
	n.AssignedWall, n.StartedWall = s.stamp.Wall, 0
	n.Deadline = s.stamp.Instant.Add(s.settings.DeliveryTimeout)
	n.Output, n.Error = nil, ""
	n.Released, n.LentTo, n.Lender = false, "", ""
	if lender != nil {
		from := *lender
		from.LentTo, n.Lender = n.ID, from.ID
		s.setTask(&from)
	}
	s.setTask(&n) // before the pin, which would move it from one queue to the other
	if pin != nil {
		s.setPin(t.Run, pin)
	}
	if calm {
		m.calm(t.Run, t.ID)
	}
	at := s.seq
	if bugs.On(bugs.MapOrder) {
		for seq := range map[Seq]bool{s.seq: true, s.seq - 1: true} { //det:ok a deliberate bug
			at = seq
		}
	}
	if lender != nil {
		s.setWorker(room)
	}
	s.charge(room, def.Slots, 1, at)
	m.effect(WorkerChanged, string(w.ID))
	m.taskChanged(&n)
	return Result{IDs: []string{string(n.ID), string(w.ID)}}, nil
}

// rejects says why the worker may not take the task run, or "".
func (s *State) rejects(w *Worker, t *TaskRun, def *Task, r *Run) string {
	p, pinned := s.pins.Get(t.Run)
	mine := pinned && p.Worker == w.ID
	switch {
	case !w.HasAction(def.Action):
		return "has not registered the action"
	case w.Drained:
		return "takes nothing: it has drained"
	case w.Mode == ModePaused, w.Mode == ModeDraining && (!mine || p.Strategy != StrategyHard):
		return "takes nothing new: it is " + w.Mode.String()
	case !w.Fits(def.Slots):
		return "has no free slot"
	}
	wishes := s.wishesOf(def, r)
	for i := range wishes {
		if wishes[i].Required && !wishes[i].Holds(w.Labels) {
			return "does not meet the required label " + itoq(wishes[i].Label.Key)
		}
	}
	return ""
}

// wishesOf gives the labels that count for a task run: those of the trigger
// replace the task's own.
func (s *State) wishesOf(def *Task, r *Run) []LabelWish {
	if len(r.Labels) > 0 {
		return r.Labels
	}
	return def.Labels
}

// pinFor checks the run's pin against the worker, and gives the pin that the run
// has from now on; nil if it keeps what it has. Calm says that the run belongs to
// another worker than before.
func (s *State) pinFor(w *Worker, t *TaskRun, move bool) (pin *Pin, calm bool, no *Refusal) {
	v, _ := s.versions.Get(t.Version)
	if v.Sticky == StrategyNone {
		return nil, false, nil
	}
	p, ok := s.pins.Get(t.Run)
	if !ok {
		n := &Pin{
			Run: t.Run, Tenant: t.Tenant, Strategy: v.Sticky, Worker: w.ID, Cause: PinFirst,
			Seq: s.seq, Since: s.stamp.Instant, Wall: s.stamp.Wall,
		}
		if r, _ := s.runs.Get(t.Run); r.Unpinned > 0 {
			n.Cause, n.From, n.Moves = PinAgain, r.UnpinnedFrom, r.Unpinned
		}
		return n, true, nil
	}
	if p.Worker == w.ID {
		return nil, false, nil
	}
	if p.Strategy == StrategyHard {
		if bugs.On(bugs.HardMoves) {
			return nil, false, nil
		}
		return nil, false, refuse(CodeStale, "worker_id", string(w.ID), "the run is pinned HARD to worker "+string(p.Worker), "")
	}
	holder, known := s.workers.Get(p.Worker)
	gone := !known || holder.Lease.State == LeaseLost || holder.Mode == ModeDraining
	if bugs.On(bugs.SuspectMoves) {
		gone = gone || holder.Lease.State == LeaseSuspect
	}
	n := *p
	switch {
	case gone:
		n.From, n.Worker, n.Cause, n.Moves = p.Worker, w.ID, PinMoved, p.Moves+1
		n.Seq, n.Since, n.Wall = s.seq, s.stamp.Instant, s.stamp.Wall
	case move:
		return nil, false, refuse(CodeStale, "move_pin", string(w.ID), "the pinned worker's lease has not ended", "")
	case holder.Mode == ModeActive && !t.Overflow:
		return nil, false, refuse(CodeStale, "worker_id", string(w.ID), "the patience for the pinned worker is not over", "")
	default:
		n.Overflows++
	}
	return &n, gone, nil
}

// calm gives the waiting task runs of the run, but the one that is being assigned,
// a fresh patience, now that the run belongs to another worker than before.
func (m *Machine) calm(run RunID, but TaskRunID) {
	s := m.st
	r, _ := s.runs.Get(run)
	v, _ := s.versions.Get(r.Version)
	if v.Sticky != StrategySoft {
		return
	}
	for _, id := range r.Tasks {
		if o, ok := s.tasks.Get(id); ok && id != but && o.Status == Queued {
			n := *o
			n.Overflow, n.Deadline = false, min(o.ScheduleBy, s.stamp.Instant.Add(s.settings.SoftPatience))
			s.setTask(&n)
		}
	}
}
