package fsm

import (
	"slices"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func (m *Machine) registerWorker(c *limpetv1.RegisterWorker) (Result, *Refusal) {
	s, id := m.st, WorkerID(c.GetWorkerId())
	if !ValidUUID(string(id)) {
		return Result{}, refuse(CodeInvalid, "worker_id", string(id), "must be a UUID", "")
	}
	if _, ok := s.tenants.Get(TenantID(c.GetTenantId())); !ok {
		return Result{}, refuse(CodeNotFound, "tenant_id", c.GetTenantId(), "no such tenant", "use a token of this cluster")
	}
	if _, ok := s.workers.Get(id); ok {
		return Result{IDs: []string{string(id)}, Ignored: true}, nil
	}
	slots := slotsFrom(c.GetSlots())
	for i := range slots {
		if slots[i].Units < 0 {
			return Result{}, refuse(CodeInvalid, "slot_config."+slots[i].Type, itoa(slots[i].Units), "must not be negative", "")
		}
	}
	used := slices.Clone(slots)
	for i := range used {
		used[i].Units = 0
	}
	n := &Worker{
		ID: id, Tenant: TenantID(c.GetTenantId()), Name: c.GetName(), Actions: c.GetActions(),
		Slots: slots, Used: used, Labels: labelsFrom(c.GetLabels()),
		Lease: Lease{
			Epoch: 1, State: LeaseSuspect, Since: s.stamp.Instant, SinceWall: s.stamp.Wall,
			Reason: "registered; no assignment stream yet",
		},
		SDK: c.GetSdk(), SDKVersion: c.GetSdkVersion(), LanguageVersion: c.GetLanguageVersion(), OS: c.GetOs(),
		RegisteredAt: s.stamp.Instant, RegisteredWall: s.stamp.Wall,
		Identity: c.GetIdentity(), Incarnation: or(c.GetIncarnation(), string(id)), Generation: c.GetGeneration(), Member: c.GetMember(),
	}
	if n.Identity != "" {
		if res, no, done := m.claim(n); done {
			return res, no
		}
	}
	s.setWorker(n)
	s.takePlace(n)
	m.effect(WorkerChanged, string(id))
	return Result{IDs: []string{string(id)}}, nil
}

func (m *Machine) attachSession(c *limpetv1.AttachSession) (Result, *Refusal) {
	s := m.st
	w, ok := s.workers.Get(WorkerID(c.GetWorkerId()))
	if !ok {
		return Result{}, noWorker("worker_id", c.GetWorkerId())
	}
	if no := w.Stranger(c.GetIncarnation()); no != nil {
		return Result{}, no
	}
	n := *w
	if n.SaidGoodbye() && n.OwnMode {
		// It had said goodbye, and has come back.
		n.endOwnMode()
	}
	if n.Lease.State == LeaseLost {
		n.Lease.Epoch++
	}
	n.Lease.State, n.Lease.Reason = LeaseLive, ""
	n.Lease.Node, n.Lease.Session = NodeID(c.GetNode()), SessionID(c.GetSession())
	n.Lease.Since, n.Lease.SinceWall = s.stamp.Instant, s.stamp.Wall
	s.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	// Its drain may have come to its end while it was lost.
	m.departIfDone(n.ID)
	return Result{IDs: []string{string(n.ID)}}, nil
}

func (m *Machine) detachSession(c *limpetv1.DetachSession) (Result, *Refusal) {
	w, ok := m.st.workers.Get(WorkerID(c.GetWorkerId()))
	if !ok || string(w.Lease.Session) != c.GetSession() || w.Lease.State != LeaseLive {
		return Result{Ignored: true}, nil
	}
	m.suspect(w, c.GetReason())
	return Result{IDs: []string{string(w.ID)}}, nil
}

func (m *Machine) suspectSessions(c *limpetv1.SuspectSessions) (Result, *Refusal) {
	var found []*Worker
	m.st.workers.Scan(func(_ WorkerID, w *Worker) bool {
		if w.Lease.State == LeaseLive && string(w.Lease.Node) == c.GetNode() &&
			(c.GetKeepPrefix() == "" || !strings.HasPrefix(string(w.Lease.Session), c.GetKeepPrefix())) {
			found = append(found, w)
		}
		return true
	})
	ids := make([]string, 0, len(found))
	for _, w := range found {
		m.suspect(w, c.GetReason())
		ids = append(ids, string(w.ID))
	}
	return Result{IDs: ids}, nil
}

func (m *Machine) suspect(w *Worker, reason string) {
	n := *w
	n.Lease.State, n.Lease.Reason = LeaseSuspect, reason
	n.Lease.Since, n.Lease.SinceWall = m.st.stamp.Instant, m.st.stamp.Wall
	m.st.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
}

func (m *Machine) loseLease(c *limpetv1.LoseLease) (Result, *Refusal) {
	w, ok := m.st.workers.Get(WorkerID(c.GetWorkerId()))
	if !ok {
		return Result{}, noWorker("worker_id", c.GetWorkerId())
	}
	if w.Lease.State == LeaseLost || w.Lease.Epoch != c.GetEpoch() || string(w.Lease.Session) != c.GetSession() {
		return Result{}, refuse(CodeStale, "epoch", itoa(c.GetEpoch()), "the lease has changed since", "")
	}
	reason := c.GetReason()
	if w.SaidGoodbye() && !strings.HasPrefix(reason, leftReason) {
		reason = leftReason + "; " + reason
	}
	m.lose(w, reason)
	return Result{IDs: []string{string(w.ID)}}, nil
}

// lose ends the lease and queues again what the worker held.
func (m *Machine) lose(w *Worker, reason string) {
	s := m.st
	n := *w
	n.Lease.State, n.Lease.Reason = LeaseLost, reason
	n.Lease.Since, n.Lease.SinceWall = s.stamp.Instant, s.stamp.Wall
	if n.Mode != ModeDraining {
		n.flap(s.stamp.Instant)
	}
	s.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	var held []*TaskRun
	s.heldBy(n.ID, func(t *TaskRun) bool {
		held = append(held, t)
		return true
	})
	for _, t := range held {
		t, _ = s.tasks.Get(t.ID) // one before it may have given it its slots back
		m.requeue(t, "the lease of worker "+describe(&n)+" was lost: "+reason)
	}
	m.noteLosses(n.ID)
}

// noteLosses marks what is not content to wait for a worker that was lost. It
// looks at nothing else: many more may wait.
func (m *Machine) noteLosses(id WorkerID) {
	m.st.restless.Ascend(parkKey{worker: id, turn: turn{priority: foremost}}, func(k parkKey) bool {
		if k.worker != id {
			return false
		}
		if t, ok := m.st.tasks.Get(k.task); ok {
			m.noteLoss(t)
		}
		return true
	})
}

func (m *Machine) removeWorker(c *limpetv1.RemoveWorker) (Result, *Refusal) {
	w, no := m.workerOf(c.GetTenantId(), c.GetWorkerId())
	if no != nil {
		return Result{}, no
	}
	if no := w.Replaced(c.GetIncarnation()); no != nil {
		return Result{}, no
	}
	if w.Lease.State == LeaseLost {
		return Result{IDs: []string{string(w.ID)}, Ignored: true}, nil
	}
	// What it still holds may be finished and reported after the goodbye, as
	// some SDKs do; the lease ends with the last of it, or by silence.
	n := *w
	n.OwnMode, n.Paused = w.OwnMode || w.Mode != ModeDraining, w.Paused || w.Mode == ModePaused && !w.OwnMode
	n.Mode = ModeDraining
	n.Lease.State, n.Lease.Reason = LeaseSuspect, leftReason
	n.Lease.Since, n.Lease.SinceWall = m.st.stamp.Instant, m.st.stamp.Wall
	m.st.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	m.departIfDone(n.ID)
	return Result{IDs: []string{string(n.ID)}}, nil
}

const leftReason = "the worker unsubscribed"

// SaidGoodbye reports whether the worker unsubscribed and did not come back; its
// lease may have ended since by silence.
func (w *Worker) SaidGoodbye() bool { return strings.HasPrefix(w.Lease.Reason, leftReason) }

func (m *Machine) putWorkerLabels(c *limpetv1.PutWorkerLabels) (Result, *Refusal) {
	w, no := m.workerOf(c.GetTenantId(), c.GetWorkerId())
	if no != nil {
		return Result{}, no
	}
	n := *w
	n.Labels = slices.Clone(w.Labels)
	for _, l := range labelsFrom(c.GetLabels()) {
		if i := slices.IndexFunc(n.Labels, func(o Label) bool { return o.Key == l.Key }); i >= 0 {
			n.Labels[i] = l
		} else {
			n.Labels = append(n.Labels, l)
		}
	}
	slices.SortFunc(n.Labels, func(a, b Label) int { return strings.Compare(a.Key, b.Key) })
	n.profile = profileOf(&n)
	m.st.setWorker(&n)
	m.effect(WorkerChanged, string(n.ID))
	return Result{IDs: []string{string(n.ID)}}, nil
}

func (m *Machine) workerOf(tenant, id string) (*Worker, *Refusal) {
	w, ok := m.st.workers.Get(WorkerID(id))
	if !ok || string(w.Tenant) != tenant {
		return nil, noWorker("worker_id", id)
	}
	return w, nil
}

func noWorker(field, id string) *Refusal {
	return refuse(CodeNotFound, field, id, "no such worker", "register again, or see `limpet worker list`")
}

func describe(w *Worker) string { return itoq(w.Name) + " (" + string(w.ID) + ")" }
