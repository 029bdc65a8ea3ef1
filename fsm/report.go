package fsm

import (
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// current finds the task run that a report is about and checks its fence. The
// attempt is the fence: it grows with every assignment. It gives nil when the
// report says what is so already.
func (m *Machine) current(tenant, id string, attempt int32) (*TaskRun, *Refusal) {
	t, ok := m.st.tasks.Get(TaskRunID(id))
	if !ok || string(t.Tenant) != tenant {
		return nil, refuse(CodeNotFound, "task_run_external_id", id, "no such task run", "it may have been forgotten; see `limpet run list`")
	}
	if attempt < 0 || bugs.On(bugs.NoFence) {
		attempt = t.Attempt
	}
	switch {
	case attempt != t.Attempt:
		m.fenced++
		return nil, refuse(CodeStale, "retry_count", itoa(attempt), "this attempt is over; the task run is at attempt "+itoa(t.Attempt), "")
	case t.Status.Held():
		return t, nil
	case t.Status == Completed || t.Status == Failed:
		return nil, nil
	default:
		m.fenced++
		return nil, refuse(CodeStale, "task_run_external_id", id, "the task run is "+t.Status.String()+", not with a worker", "")
	}
}

func (m *Machine) reportStarted(c *limpetv1.ReportStarted) (Result, *Refusal) {
	t, no := m.current(c.GetTenantId(), c.GetTaskRunId(), c.GetAttempt())
	if no != nil {
		return Result{}, no
	}
	if t == nil || t.Status == Running {
		return Result{Ignored: true}, nil
	}
	s, n := m.st, *t
	n.Status, n.StartedWall = Running, s.stamp.Wall
	n.ExecuteBy = s.stamp.Instant.Add(or(s.taskOf(t).ExecutionTimeout, s.settings.ExecutionTimeout))
	n.Deadline = n.ExecuteBy
	s.setTask(&n)
	m.taskChanged(&n)
	m.runStarted(n.Run)
	return Result{IDs: []string{string(n.ID)}}, nil
}

func (m *Machine) runStarted(id RunID) {
	if r, ok := m.st.runs.Get(id); ok && r.Status == Queued {
		n := *r
		n.Status, n.StartedWall = Running, m.st.stamp.Wall
		m.st.setRun(&n)
	}
}

func (m *Machine) reportCompleted(c *limpetv1.ReportCompleted) (Result, *Refusal) {
	t, no := m.current(c.GetTenantId(), c.GetTaskRunId(), c.GetAttempt())
	if no != nil {
		return Result{}, no
	}
	if t == nil {
		return Result{Ignored: true}, nil
	}
	m.runStarted(t.Run)
	m.finish(t, Completed, c.GetOutput(), "")
	return Result{IDs: []string{string(t.ID)}}, nil
}

func (m *Machine) reportFailed(c *limpetv1.ReportFailed) (Result, *Refusal) {
	t, no := m.current(c.GetTenantId(), c.GetTaskRunId(), c.GetAttempt())
	if no != nil {
		return Result{}, no
	}
	if t == nil {
		return Result{Ignored: true}, nil
	}
	m.runStarted(t.Run)
	m.fail(t, or(c.GetError(), "the task failed and gave no reason"), c.GetNoRetry())
	return Result{IDs: []string{string(t.ID)}}, nil
}

// reportCancelled ends a task run whose worker gave the attempt up. One that is
// final has most often been cancelled before its worker was told.
func (m *Machine) reportCancelled(c *limpetv1.ReportCancelled) (Result, *Refusal) {
	if t, ok := m.st.tasks.Get(TaskRunID(c.GetTaskRunId())); ok && string(t.Tenant) == c.GetTenantId() && t.Status.Final() {
		return Result{Ignored: true}, nil
	}
	t, no := m.current(c.GetTenantId(), c.GetTaskRunId(), c.GetAttempt())
	if no != nil {
		return Result{}, no
	}
	begun := *t
	begun.begin(m.st.stamp.Wall)
	m.st.setTask(&begun)
	m.runStarted(t.Run)
	return m.cancelTasks(&limpetv1.CancelTasks{TenantId: c.GetTenantId(), Ids: []string{c.GetTaskRunId()}, Reason: "cancelled by its worker"})
}

// fail ends an attempt that failed by itself: the next one is queued, after
// the backoff, while retries are left.
func (m *Machine) fail(t *TaskRun, why string, final bool) {
	s := m.st
	def := s.taskOf(t)
	if final || t.Failures >= def.Retries {
		begun := *t
		begun.begin(s.stamp.Wall)
		m.finish(&begun, Failed, nil, why)
		return
	}
	n := *t
	n.Failures++
	n.Attempt++
	n.Error = why
	m.freeSlots(t)
	delay := def.backoff(n.Failures)
	if delay <= 0 {
		m.enqueue(&n)
	} else {
		n.Status, n.ExecuteBy = Backoff, 0
		n.Deadline = s.stamp.Instant.Add(delay)
		s.setTask(&n)
		m.taskChanged(&n)
	}
	m.departIfDone(t.Worker)
}

// requeue takes an attempt back for reasons that are not the task's own. It
// consumes no retry; past the cap the task run fails with the reason.
func (m *Machine) requeue(t *TaskRun, why string) {
	if t.Requeues >= m.st.settings.MaxRequeues {
		m.finish(t, Failed, nil, "taken back "+itoa(t.Requeues)+" times without an end, which is the limit (max_requeues); the last time because "+why)
		return
	}
	n := *t
	n.Requeues++
	n.Attempt++
	m.freeSlots(t)
	m.enqueue(&n)
	m.departIfDone(t.Worker)
}

// freeSlots gives back what the task run took from its worker.
func (m *Machine) freeSlots(t *TaskRun) {
	if !t.Status.Held() {
		return
	}
	s := m.st
	if w, ok := s.workers.Get(t.Worker); ok {
		if t.counted() {
			w = s.charge(w, s.taskOf(t).Slots, -1, 0)
			if bugs.On(bugs.DoubleFree) {
				w = s.charge(w, s.taskOf(t).Slots, -1, 0)
			}
		}
		m.giveBack(t, w)
		m.effect(WorkerChanged, string(w.ID))
	}
}
