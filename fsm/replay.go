package fsm

import (
	"slices"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// replayTasks runs whole runs, or task runs and what depends on them, again:
// with fresh retries, a new attempt, and a new pin if the worker that the old
// one names has lost its lease.
func (m *Machine) replayTasks(c *limpetv1.ReplayTasks) (Result, *Refusal) {
	s := m.st
	chosen := map[RunID][]int{}
	var order []RunID
	for i, id := range c.GetIds() {
		r, at := s.findRun(c.GetTenantId(), id)
		if r == nil {
			return Result{}, refuse(CodeNotFound, "external_ids["+itoa(i)+"]", id, "no such run or task run", "see `limpet run list`; finished runs are kept for a limited time")
		}
		if _, seen := chosen[r.ID]; !seen {
			order = append(order, r.ID)
		}
		chosen[r.ID] = append(chosen[r.ID], at...)
	}
	var res Result
	for _, id := range order {
		res.IDs = append(res.IDs, m.replayRun(id, chosen[id])...)
	}
	res.Ignored = len(res.IDs) == 0
	m.auditBatch(c.GetTenantId(), c.GetActor(), "run replay", c.GetIds(), "", res)
	return res, nil
}

// findRun gives the run that an id names, itself or by one of its task runs,
// and the indices of the task runs that are meant.
func (s *State) findRun(tenant, id string) (*Run, []int) {
	if r, ok := s.runs.Get(RunID(id)); ok && string(r.Tenant) == tenant {
		all := make([]int, len(r.Tasks))
		for i := range all {
			all[i] = i
		}
		return r, all
	}
	if t, ok := s.tasks.Get(TaskRunID(id)); ok && string(t.Tenant) == tenant {
		r, _ := s.runs.Get(t.Run)
		return r, []int{t.Index}
	}
	return nil, nil
}

func (m *Machine) replayRun(id RunID, from []int) []string {
	s := m.st
	r, _ := s.runs.Get(id)
	v, _ := s.versions.Get(r.Version)
	again := v.below(from)
	var ids []string
	for i, on := range again {
		if !on {
			continue
		}
		t, _ := s.tasks.Get(r.Tasks[i])
		m.rewind(t)
		if i != v.OnFailure {
			ids = append(ids, string(t.ID))
		}
	}
	m.reopen(r)
	m.dropDeadPin(id)
	var ready []TaskRunID
	for i, on := range again {
		if !on {
			continue
		}
		t, _ := s.tasks.Get(r.Tasks[i])
		n := *t
		n.Waiting = 0
		for _, p := range v.Tasks[i].Parents {
			if parent, _ := s.tasks.Get(r.Tasks[p]); !parent.Status.Final() {
				n.Waiting++
			}
		}
		s.setTask(&n)
		if n.Waiting == 0 && i != v.OnFailure {
			ready = append(ready, n.ID)
		}
	}
	for _, id := range ready {
		if t, _ := s.tasks.Get(id); t.Status == Blocked {
			n := *t
			m.end(m.ready(&n))
		}
	}
	if f, status := m.onFailure(id); f != nil {
		m.finish(f, status, nil, "")
	}
	m.effect(RunChanged, string(id))
	return ids
}

// below marks the tasks, all that depend on them, and the on-failure task.
func (v *Version) below(from []int) []bool {
	out := make([]bool, len(v.Tasks))
	todo := slices.Clone(from)
	if v.OnFailure >= 0 {
		todo = append(todo, v.OnFailure)
	}
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		if !out[i] {
			out[i] = true
			todo = append(todo, v.Tasks[i].Children...)
		}
	}
	return out
}

// rewind puts a task run back to where it waits for its parents. An attempt
// number that was handed out is not used again: it fences what may still run.
func (m *Machine) rewind(t *TaskRun) {
	s := m.st
	m.freeSlots(t)
	t, _ = s.tasks.Get(t.ID)
	n := &TaskRun{
		ID: t.ID, Run: t.Run, Tenant: t.Tenant, Version: t.Version, Index: t.Index, Status: Blocked,
		Attempt: t.Attempt, Worker: t.Worker, Epoch: t.Epoch,
	}
	if t.Status.Held() || t.Status.Final() {
		n.Attempt++
	}
	s.forgetSpawned(t.ID)
	s.setTask(n)
	if t.Worker != "" {
		m.departIfDone(t.Worker)
	}
}

// reopen makes the run one that has not ended.
func (m *Machine) reopen(r *Run) {
	s := m.st
	n := *r
	n.Open, n.Status = 0, Queued
	n.StartedWall, n.FinishedAt, n.FinishedWall = 0, 0, 0
	for _, id := range r.Tasks {
		if t, _ := s.tasks.Get(id); !t.Status.Final() {
			n.Open++
		}
	}
	s.setRun(&n)
}

// dropDeadPin clears the pin of a run to a worker that has lost its lease.
func (m *Machine) dropDeadPin(id RunID) {
	s := m.st
	p, ok := s.pins.Get(id)
	if !ok {
		return
	}
	if w, known := s.workers.Get(p.Worker); !known || w.Lease.State == LeaseLost {
		s.setPin(id, nil)
	}
}
