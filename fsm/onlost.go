package fsm

import (
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// OnLost is what becomes of a run that is pinned HARD when the lease of its
// worker is lost.
type OnLost uint8

// The policies.
const (
	// OnLostUnset: the workflow's word; without one, wait.
	OnLostUnset OnLost = iota
	// OnLostWait: the run waits for its worker, until its schedule timeout. So
	// the sticky assignment page has it.
	OnLostWait
	// OnLostFail: what waits fails at once, with the reason.
	OnLostFail
	// OnLostRepin: the pin is cleared and the next assignment sets it anew.
	OnLostRepin
)

// String gives wait, fail or repin; nothing for unset.
func (o OnLost) String() string {
	switch o {
	case OnLostWait:
		return "wait"
	case OnLostFail:
		return "fail"
	case OnLostRepin:
		return "repin"
	case OnLostUnset:
	}
	return ""
}

// ParseOnLost reads a policy as users write it, without regard to case. ok is
// false for anything else than wait, fail and repin.
func ParseOnLost(text string) (o OnLost, ok bool) {
	for _, o := range []OnLost{OnLostWait, OnLostFail, OnLostRepin} {
		if strings.EqualFold(text, o.String()) {
			return o, true
		}
	}
	return OnLostUnset, false
}

func (m *Machine) setWorkflowPolicy(c *limpetv1.SetWorkflow) (Result, *Refusal) {
	s := m.st
	id, ok := s.names.Get(workflowKey(TenantID(c.GetTenantId()), c.GetWorkflow()))
	if !ok {
		return Result{}, refuse(CodeNotFound, "workflow", c.GetWorkflow(), "no workflow of that name is registered", "see `limpet workflow list`")
	}
	w, _ := s.workflows.Get(id)
	o := OnLost(c.GetOnLost())
	if c.GetOnLost() < 1 || o > OnLostRepin {
		return Result{}, refuse(CodeInvalid, "on_lost", itoa(c.GetOnLost()), "must be wait, fail or repin", "")
	}
	before := w.Policy()
	n := *w
	n.OnLost = o
	s.setWorkflow(&n)
	m.audit(&Audit{
		Tenant: w.Tenant, Actor: c.GetActor(), Action: "workflow set on_lost", Target: w.Name, From: before.String(), To: o.String(),
	})
	if o != before {
		m.policyChanged(w.ID, before, o)
	}
	return Result{IDs: []string{string(w.ID)}}, nil
}

// policyChanged judges what waits for a worker by the workflow's new word, unless
// its run has one of its own.
func (m *Machine) policyChanged(w WorkflowID, before, now OnLost) {
	s := m.st
	s.tasks.Scan(func(_ TaskRunID, t *TaskRun) bool {
		if t.Status != Queued {
			return true
		}
		if r, ok := s.runs.Get(t.Run); !ok || r.Workflow != w || r.OnLost != OnLostUnset {
			return true
		}
		k, ok := s.parkKeyOf(t)
		switch {
		case !ok || k.list != parkHard:
			return true
		case now == OnLostWait:
			s.restless.Delete(k)
		case before == OnLostWait:
			s.restless.Set(k)
		}
		m.noteLoss(t)
		return true
	})
}

// Policy is what becomes of the workflow's runs when their worker is lost, unless
// a run says otherwise.
func (w *Workflow) Policy() OnLost { return or(w.OnLost, OnLostWait) }

// OnLost gives what becomes of a run when its worker is lost.
func (v View) OnLost(r *Run) OnLost { return v.st.onLost(r) }

func (s *State) onLost(r *Run) OnLost {
	w, ok := s.workflows.Get(r.Workflow)
	if !ok {
		return or(r.OnLost, OnLostWait)
	}
	return or(or(r.OnLost, w.OnLost), OnLostWait)
}

// noteLoss marks a task run that waits for a worker that is lost, if its run is
// not content to wait. It is dealt with at the end of the command: in the middle
// of one, others may be looking at the run.
func (m *Machine) noteLoss(t *TaskRun) {
	if t.Status != Queued || m.lostPin(t) == nil {
		return
	}
	if r, ok := m.st.runs.Get(t.Run); ok && m.st.onLost(r) != OnLostWait {
		m.lost = append(m.lost, t.ID)
	}
}

// lostPin gives the HARD pin of the task run's run if its worker is lost.
func (m *Machine) lostPin(t *TaskRun) *Pin {
	p, ok := m.st.pins.Get(t.Run)
	if !ok || p.Strategy != StrategyHard {
		return nil
	}
	// One that has drained takes nothing more, though its process may still listen.
	if w, known := m.st.workers.Get(p.Worker); known && w.Lease.State != LeaseLost && !w.Drained {
		return nil
	}
	return p
}

// heedLosses does with the task runs noted what their runs want.
func (m *Machine) heedLosses() {
	for len(m.lost) > 0 {
		id := m.lost[0]
		m.lost = m.lost[1:]
		t, ok := m.st.tasks.Get(id)
		if !ok || t.Status != Queued {
			continue
		}
		p := m.lostPin(t)
		if p == nil {
			continue
		}
		r, _ := m.st.runs.Get(t.Run)
		code, why := View{st: m.st}.WaitReason(t)
		switch m.st.onLost(r) {
		case OnLostFail:
			m.finish(t, Failed, nil, code+": task "+itoq(m.st.taskOf(t).Name)+" cannot go on: "+why+"; on_lost is fail")
		case OnLostRepin:
			m.audit(&Audit{Tenant: r.Tenant, Action: "pin release", Target: string(r.ID), From: string(p.Worker), Reason: "on_lost is repin: " + why})
			m.unpin(r, p)
		case OnLostUnset, OnLostWait:
		}
	}
	m.lost = nil
}
