package fsm

import (
	"fmt"
	"hash/fnv"
)

// indexTask enters the task run where its state says: held by a worker, parked
// at its pinned worker, or waiting in its class; and its deadline.
func (s *State) indexTask(t *TaskRun) {
	if t.Deadline != 0 {
		s.deadlines.Set(deadlineKey{t.Deadline, t.ID})
	}
	switch {
	case t.Status.Held():
		s.held.Set(heldKey{t.Worker, t.ID})
	case t.Status == Blocked:
		s.indexConds(t)
	case t.Status == Queued:
		s.enterQueue(t)
	}
}

// enterQueue enters a queued task run where the run's pin says.
func (s *State) enterQueue(t *TaskRun) {
	if k, ok := s.borrowKeyOf(t); ok {
		s.borrow.Set(k)
		s.attendID(k.worker)
	}
	if k, ok := s.parkKeyOf(t); ok {
		s.parked.Set(k)
		if s.restlessAt(k, t) {
			s.restless.Set(k)
		}
		s.countParked(k, 1)
	} else {
		s.waiting.Set(s.waitKeyOf(t))
	}
}

func (s *State) leaveQueue(t *TaskRun) {
	if k, ok := s.borrowKeyOf(t); ok {
		s.borrow.Delete(k)
		s.attendID(k.worker)
	}
	if k, ok := s.parkKeyOf(t); ok {
		if _, was := s.parked.Delete(k); was {
			if s.restlessAt(k, t) {
				s.restless.Delete(k)
			}
			s.countParked(k, -1)
		}
	} else {
		s.waiting.Delete(s.waitKeyOf(t))
	}
}

// reindexTask enters the task run in the place of an earlier state of it, and
// leaves what is the same in both. A task that its worker has started stays
// where it was, and that is every task once.
func (s *State) reindexTask(old, t *TaskRun) {
	if old.Status.Held() && t.Status.Held() && old.Worker == t.Worker {
		s.moveDeadline(old, t)
		return
	}
	s.unindexTask(old)
	s.indexTask(t)
}

func (s *State) moveDeadline(old, t *TaskRun) {
	if old.Deadline == t.Deadline {
		return
	}
	if old.Deadline != 0 {
		s.deadlines.Delete(deadlineKey{old.Deadline, old.ID})
	}
	if t.Deadline != 0 {
		s.deadlines.Set(deadlineKey{t.Deadline, t.ID})
	}
}

func (s *State) unindexTask(t *TaskRun) {
	if t.Deadline != 0 {
		s.deadlines.Delete(deadlineKey{t.Deadline, t.ID})
	}
	switch {
	case t.Status.Held():
		s.held.Delete(heldKey{t.Worker, t.ID})
	case t.Status == Blocked:
		s.unindexConds(t)
	case t.Status == Queued:
		s.leaveQueue(t)
	}
}

func (s *State) countParked(k parkKey, by int) {
	n, _ := s.parkedAt.Get(k.worker)
	n[k.list] += by
	if n.total() == 0 {
		s.parkedAt.Delete(k.worker)
	} else {
		s.parkedAt.Set(k.worker, n)
	}
	s.attendID(k.worker)
}

func (s *State) attendID(id WorkerID) {
	if w, ok := s.workers.Get(id); ok {
		s.attend(w)
	}
}

func (s *State) parkKeyOf(t *TaskRun) (parkKey, bool) {
	p, ok := s.pins.Get(t.Run)
	if !ok {
		return parkKey{}, false
	}
	list := parkSoft
	switch {
	case p.Strategy == StrategyHard:
		list = parkHard
	case t.Overflow:
		list = parkOverflow
	}
	return parkKey{p.Worker, list, s.turnOf(t)}, true
}

// restlessAt reports whether a task run parked there does not simply wait on
// when its worker is lost. Those have an index of their own, so that the loss of
// a worker costs nothing for the many that wait.
func (s *State) restlessAt(k parkKey, t *TaskRun) bool {
	if k.list != parkHard {
		return false
	}
	r, ok := s.runs.Get(t.Run)
	return ok && s.onLost(r) != OnLostWait
}

func (s *State) waitKeyOf(t *TaskRun) waitKey {
	return waitKey{s.classOf(t), s.turnOf(t)}
}

func (s *State) turnOf(t *TaskRun) turn {
	k := turn{seq: t.QueueSeq, task: t.ID}
	if r, ok := s.runs.Get(t.Run); ok {
		k.priority = -r.Priority
	}
	return k
}

// classOf names what the task run asks of a worker: its version's task, and
// the labels that its trigger gave.
func (s *State) classOf(t *TaskRun) string {
	class := s.taskOf(t).class
	if r, ok := s.runs.Get(t.Run); ok && len(r.Labels) > 0 {
		h := fnv.New64a()
		for i := range r.Labels {
			_, _ = h.Write(encode(nil, &r.Labels[i]))
			_, _ = h.Write([]byte{0})
		}
		class += fmt.Sprintf("/%x", h.Sum64())
	}
	return class
}

// enqueue makes the task run wait for a worker from now on. Queues are in the
// order of the runs' creation, so that what has begun is finished first and a
// task run that comes back has its old place.
func (m *Machine) enqueue(t *TaskRun) {
	s := m.st
	def := s.taskOf(t)
	t.Status, t.Overflow = Queued, false
	t.Released, t.LentTo, t.Lender = false, "", ""
	if r, ok := s.runs.Get(t.Run); ok {
		t.QueueSeq = r.Seq
	}
	t.QueuedAt, t.QueuedWall = s.stamp.Instant, s.stamp.Wall
	t.ScheduleBy = s.stamp.Instant.Add(or(def.ScheduleTimeout, s.settings.ScheduleTimeout))
	t.ExecuteBy = 0
	t.Deadline = t.ScheduleBy
	if v, ok := s.versions.Get(t.Version); ok && v.Sticky == StrategySoft {
		t.Deadline = min(t.ScheduleBy, s.stamp.Instant.Add(s.settings.SoftPatience))
	}
	s.setTask(t)
	m.taskChanged(t)
	m.noteLoss(t)
}

// taskOf gives the definition of the task run's task.
func (s *State) taskOf(t *TaskRun) *Task {
	if v, ok := s.versions.Get(t.Version); ok && t.Index < len(v.Tasks) {
		return &v.Tasks[t.Index]
	}
	return &Task{}
}

func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}
