package fsm

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// refreshTimeout adds to the time that a running attempt has.
func (m *Machine) refreshTimeout(c *limpetv1.RefreshTimeout) (Result, *Refusal) {
	s := m.st
	by := time.Duration(c.GetBy())
	if by <= 0 {
		return Result{}, refuse(CodeInvalid, "increment_timeout_by", by.String(), "must be longer than 0", "for example 15s")
	}
	t, no := m.heldTask(c.GetTenantId(), c.GetTaskRunId())
	if no != nil {
		return Result{}, no
	}
	n := *t
	if t.Status == Assigned {
		// To ask for more time is to have started.
		n.Status, n.StartedWall = Running, s.stamp.Wall
		n.ExecuteBy = s.stamp.Instant.Add(or(s.taskOf(t).ExecutionTimeout, s.settings.ExecutionTimeout))
		m.runStarted(n.Run)
	}
	n.ExecuteBy = n.ExecuteBy.Add(by)
	n.Deadline = n.ExecuteBy
	s.setTask(&n)
	m.taskChanged(&n)
	return Result{IDs: []string{string(n.ID)}}, nil
}

// releaseSlot gives the slots of a held task run back while it goes on. Its
// lease and its timeouts stay as they are.
func (m *Machine) releaseSlot(c *limpetv1.ReleaseSlot) (Result, *Refusal) {
	s := m.st
	t, no := m.heldTask(c.GetTenantId(), c.GetTaskRunId())
	if no != nil {
		return Result{}, no
	}
	if t.Released {
		return Result{IDs: []string{string(t.ID)}, Ignored: true}, nil
	}
	m.freeSlots(t)
	t, _ = s.tasks.Get(t.ID)
	n := *t
	n.Released, n.LentTo, n.Lender = true, "", ""
	s.setTask(&n)
	return Result{IDs: []string{string(n.ID)}}, nil
}

func (m *Machine) heldTask(tenant, id string) (*TaskRun, *Refusal) {
	t, ok := m.st.tasks.Get(TaskRunID(id))
	switch {
	case !ok || string(t.Tenant) != tenant:
		return nil, refuse(CodeNotFound, "task_run_external_id", id, "task run not found: "+id, "it may have been forgotten; see `limpet run list`")
	case !t.Status.Held():
		return nil, refuse(CodeConflict, "task_run_external_id", id, "the task run is "+t.Status.String()+", not with a worker", "")
	}
	return t, nil
}
