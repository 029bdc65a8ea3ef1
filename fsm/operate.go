package fsm

import limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"

// This file is what an operator does to pins. Each needs a reason and is kept in
// the audit.

func (m *Machine) releasePin(c *limpetv1.ReleasePin) (Result, *Refusal) {
	r, p, no := m.loosePin(c.GetTenantId(), c.GetRunId(), c.GetReason(), "release")
	if no != nil {
		return Result{}, no
	}
	m.audit(&Audit{
		Tenant: r.Tenant, Actor: c.GetActor(), Action: "pin release", Target: string(r.ID), From: string(p.Worker), Reason: c.GetReason(),
	})
	m.unpin(r, p)
	return Result{IDs: []string{string(r.ID)}}, nil
}

// movePin gives the run, as it stands, to another worker.
func (m *Machine) movePin(c *limpetv1.MovePin) (Result, *Refusal) {
	s := m.st
	r, p, no := m.loosePin(c.GetTenantId(), c.GetRunId(), c.GetReason(), "move")
	if no != nil {
		return Result{}, no
	}
	w, no := m.workerOf(c.GetTenantId(), c.GetWorkerId())
	if no != nil {
		return Result{}, no
	}
	if w.ID == p.Worker {
		return Result{IDs: []string{string(r.ID), string(w.ID)}, Ignored: true}, nil
	}
	if no := s.fits(r, w); no != nil {
		return Result{}, no
	}
	n := *p
	n.From, n.Worker, n.Cause, n.Moves = p.Worker, w.ID, PinOperator, p.Moves+1
	n.Seq, n.Since, n.Wall = s.seq, s.stamp.Instant, s.stamp.Wall
	s.setPin(r.ID, &n)
	m.calm(r.ID, "")
	m.audit(&Audit{
		Tenant: r.Tenant, Actor: c.GetActor(), Action: "pin move", Target: string(r.ID),
		From: string(p.Worker), To: string(w.ID), Reason: c.GetReason(),
	})
	m.effect(RunChanged, string(r.ID))
	m.departIfDone(p.Worker)
	return Result{IDs: []string{string(r.ID), string(w.ID)}}, nil
}

// fits refuses a worker that a run cannot be moved to.
func (s *State) fits(r *Run, w *Worker) *Refusal {
	switch {
	case w.Lease.State != LeaseLive:
		return refuse(CodeConflict, "worker_id", string(w.ID), "its lease is "+w.Lease.State.String(), "choose a live worker: `limpet worker list`")
	case w.Mode != ModeActive:
		return refuse(CodeConflict, "worker_id", string(w.ID), "it is "+w.Mode.String(), "choose an active worker, or `limpet worker resume` it")
	}
	v, _ := s.versions.Get(r.Version)
	for i := range v.Tasks {
		t, _ := s.tasks.Get(r.Tasks[i])
		if a := v.Tasks[i].Action; !t.Status.Final() && !w.HasAction(a) {
			return refuse(CodeConflict, "worker_id", string(w.ID), "it has not registered the action "+itoq(a), "choose a worker that has")
		}
	}
	return nil
}

// CanTake says whether a run could be moved to a worker.
func (v View) CanTake(r *Run, w *Worker) bool { return r.Tenant == w.Tenant && v.st.fits(r, w) == nil }

// loosePin finds the pin of a live run of which no live worker holds a task: one
// that can be changed without two workers at the run.
func (m *Machine) loosePin(tenant, run, reason, verb string) (*Run, *Pin, *Refusal) {
	s := m.st
	r, ok := s.runs.Get(RunID(run))
	if !ok || string(r.Tenant) != tenant {
		return nil, nil, refuse(CodeNotFound, "run_id", run, "no such run", "see `limpet run list`")
	}
	p, ok := s.pins.Get(r.ID)
	switch {
	case !ok:
		return nil, nil, refuse(CodeConflict, "run_id", run, "the run has no pin", "see `limpet pin list`")
	case r.Status.Final():
		return nil, nil, refuse(CodeConflict, "run_id", run, "the run is over", "")
	case reason == "":
		return nil, nil, refuse(CodeInvalid, "reason", "", "must not be empty", "say why: the run may lose its state, and the audit keeps the reason")
	}
	for _, id := range r.Tasks {
		if t, ok := s.tasks.Get(id); ok && t.Status.Held() {
			w, known := s.workers.Get(t.Worker)
			if known && w.Lease.State != LeaseLost {
				return nil, nil, refuse(CodeConflict, "run_id", run, "a task of the run is on its worker", "wait for it, or cancel it, and "+verb+" then")
			}
		}
	}
	return r, p, nil
}

// unpin clears the run's pin; the run remembers that it had one.
func (m *Machine) unpin(r *Run, p *Pin) {
	n := *r
	n.Unpinned, n.UnpinnedFrom = max(r.Unpinned, p.Moves)+1, p.Worker
	m.st.setRun(&n)
	m.st.setPin(r.ID, nil)
	m.effect(RunChanged, string(r.ID))
	m.departIfDone(p.Worker)
}
