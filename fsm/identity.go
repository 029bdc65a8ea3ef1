package fsm

import (
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// placeKey is how a worker is looked up by its identity.
func placeKey(t TenantID, identity string) string { return string(t) + "/" + identity }

// takePlace makes the worker the one of its identity, unless its place came back
// as another.
func (s *State) takePlace(w *Worker) {
	if w.Identity != "" && !w.superseded() {
		s.places.Set(placeKey(w.Tenant, w.Identity), w.ID)
	}
}

const supersededReason = "its place came back without its state"

// superseded reports whether the worker's place came back as another worker.
func (w *Worker) superseded() bool {
	return w.Lease.State == LeaseLost && strings.HasPrefix(w.Lease.Reason, supersededReason)
}

// claim answers a registration with an identity that a worker has already. Done
// is false when the registration makes a new worker.
func (m *Machine) claim(n *Worker) (res Result, no *Refusal, done bool) {
	s := m.st
	id, ok := s.places.Get(placeKey(n.Tenant, n.Identity))
	if !ok {
		return Result{}, nil, false
	}
	w, ok := s.workers.Get(id)
	if !ok {
		return Result{}, nil, false
	}
	same := w.Incarnation == n.Incarnation
	if !same && !w.Vacant() {
		return Result{}, refuse(CodeBusy, "labels."+limpetv1.LabelIdentity, n.Identity,
			"is that of worker "+describe(w)+", whose lease is "+w.Lease.State.String()+" and whose process is another one",
			"stop the other process, or wait until its lease is lost; each process needs an identity of its own"), true
	}
	if w.Generation != n.Generation {
		m.supersede(w, n.Generation)
		return Result{}, nil, false
	}
	m.readmit(w, n, same)
	return Result{IDs: []string{string(w.ID)}}, nil, true
}

// readmit gives the worker to a process that registers with its identity.
func (m *Machine) readmit(w, n *Worker, same bool) {
	s := m.st
	back := *n
	back.ID, back.Lease, back.Mode = w.ID, w.Lease, w.Mode
	back.RegisteredAt, back.RegisteredWall, back.LastAssigned = w.RegisteredAt, w.RegisteredWall, w.LastAssigned
	back.Flaps, back.FlapAt, back.QuietUntil = w.Flaps, w.FlapAt, w.QuietUntil
	back.DrainBy, back.Drained, back.OwnMode = w.DrainBy, w.Drained, w.OwnMode
	if w.Drained || w.saidGoodbye() || w.OwnMode && !same {
		back.Mode, back.DrainBy, back.Drained, back.OwnMode = ModeActive, 0, false, false // that was the process before
	}
	for i := range back.Slots {
		if j := w.slotIndex(back.Slots[i].Type); j >= 0 && same {
			back.Used[i].Units = w.Used[j].Units
			back.Slots[i].Units = max(back.Slots[i].Units, w.Used[j].Units)
		}
	}
	if !same {
		// Nobody held the lease, so nothing is held: the epoch before is over.
		back.Lease.Epoch++
		back.Lease.State, back.Lease.Reason = LeaseSuspect, "registered again; no assignment stream yet"
		back.Lease.Node, back.Lease.Session = "", ""
		back.Lease.Since, back.Lease.SinceWall = s.stamp.Instant, s.stamp.Wall
	}
	s.setWorker(&back)
	m.effect(WorkerChanged, string(back.ID))
}

// supersede ends a worker whose place came back with other state.
func (m *Machine) supersede(w *Worker, generation string) {
	reason := supersededReason + ": generation " + itoq(w.Generation) + " is now " + itoq(generation)
	if w.Lease.State != LeaseLost {
		m.lose(w, reason)
		return
	}
	n := *w
	n.Lease.Reason = reason
	m.st.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	m.noteLosses(n.ID)
}

// Vacant reports whether another process may take the worker's identity: its
// lease is lost, or it has registered and never opened a stream.
func (w *Worker) Vacant() bool {
	return w.Lease.State == LeaseLost || w.Lease.State == LeaseSuspect && w.Lease.Session == ""
}

// Replaced says why a call is not of the process that the worker is now; nil if
// it may be. The incarnation is empty if the caller did not give one.
func (w *Worker) Replaced(incarnation string) *Refusal {
	switch {
	case w.superseded():
		return refuse(CodeFenced, "worker_id", string(w.ID), w.Lease.Reason, "stop this process")
	case incarnation != "" && incarnation != w.Incarnation:
		return refuse(CodeFenced, "worker_id", string(w.ID), "a newer start of the process has taken its place", "stop this process")
	}
	return nil
}

// Stranger says why a stream may not be opened for the worker now; nil if it
// may. The incarnation is as in [Worker.Replaced].
func (w *Worker) Stranger(incarnation string) *Refusal {
	switch no := w.Replaced(incarnation); {
	case no != nil:
		return no
	case incarnation == "" && w.Identity != "" && w.Lease.State == LeaseLive:
		return refuse(CodeBusy, "worker_id", string(w.ID), "another stream of the worker is open, and the call does not say of which process it is",
			"wait until the other stream has ended; `limpet agent` and the Go SDK say it")
	}
	return nil
}

// reportExit ends the lease of a worker whose process has ended.
func (m *Machine) reportExit(c *limpetv1.ReportExit) (Result, *Refusal) {
	w, no := m.workerOf(c.GetTenantId(), c.GetWorkerId())
	if no != nil {
		return Result{}, no
	}
	if w.Lease.State == LeaseLost || w.Incarnation != c.GetIncarnation() {
		return Result{IDs: []string{string(w.ID)}, Ignored: true}, nil
	}
	ids := []string{string(w.ID)}
	m.st.heldBy(w.ID, func(t *TaskRun) bool {
		ids = append(ids, string(t.ID))
		return true
	})
	m.lose(w, or(c.GetReason(), "its process has ended"))
	return Result{IDs: ids}, nil
}

// Place gives the worker that has the identity now.
func (v View) Place(t TenantID, identity string) (*Worker, bool) {
	id, ok := v.st.places.Get(placeKey(t, identity))
	if !ok {
		return nil, false
	}
	return v.st.workers.Get(id)
}
