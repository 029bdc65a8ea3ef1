package fsm

import (
	"slices"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// plan is a trigger that has been checked and not yet carried out.
type plan struct {
	spec     *limpetv1.RunSpec
	version  *Version
	desired  *Worker
	prefer   WorkerID
	childKey string
	existing RunID
	event    *Event // that starts the run
}

func (m *Machine) triggerRuns(c *limpetv1.TriggerRuns) (Result, *Refusal) {
	tenant := TenantID(c.GetTenantId())
	plans := make([]plan, 0, len(c.GetRuns()))
	for i, spec := range c.GetRuns() {
		p, no := m.planRun(tenant, spec)
		if no != nil {
			if len(c.GetRuns()) > 1 {
				no.Field = "workflows[" + itoa(i) + "]." + no.Field
			}
			return Result{}, no
		}
		plans = append(plans, p)
	}
	if no := m.roomFor(plans); no != nil {
		return Result{}, no
	}
	res := Result{Ignored: true}
	for i := range plans {
		p := &plans[i]
		if p.existing == "" && p.childKey != "" {
			// An earlier spec of this batch may have had the same key.
			p.existing, _ = m.st.children.Get(p.childKey)
		}
		if p.existing != "" {
			res.IDs = append(res.IDs, string(p.existing))
			continue
		}
		res.Ignored = false
		res.IDs = append(res.IDs, p.spec.GetRunId())
		m.startRun(tenant, p)
	}
	return res, nil
}

func (m *Machine) planRun(tenant TenantID, spec *limpetv1.RunSpec) (plan, *Refusal) {
	s, p := m.st, plan{spec: spec}
	if !ValidUUID(spec.GetRunId()) {
		return p, refuse(CodeInvalid, "run_id", spec.GetRunId(), "must be a UUID", "")
	}
	if r, ok := s.runs.Get(RunID(spec.GetRunId())); ok {
		p.existing = r.ID
		return p, nil
	}
	id, ok := s.names.Get(workflowKey(tenant, spec.GetWorkflow()))
	if !ok {
		return p, refuse(CodeNotFound, "name", spec.GetWorkflow(), "no workflow of that name is registered", "start a worker that registers it, or check the name and its namespace")
	}
	w, _ := s.workflows.Get(id)
	p.version, _ = s.versions.Get(w.Latest)
	if len(p.version.Unserved) > 0 {
		return p, refuse(CodeUnsupported, "name", spec.GetWorkflow(),
			"the workflow uses what this version of Limpet does not serve: "+strings.Join(p.version.Unserved, ", "), "see docs/sdk-compatibility.md")
	}
	if pr := spec.GetPriority(); pr < 0 || pr > 3 {
		return p, refuse(CodeInvalid, "priority", itoa(pr), "must be between 1 and 3", "")
	}
	if spec.GetOnLost() < 0 || OnLost(spec.GetOnLost()) > OnLostRepin {
		return p, refuse(CodeInvalid, "on_lost", itoa(spec.GetOnLost()), "must be wait, fail or repin", "")
	}
	if spec.GetParentTaskRunId() != "" {
		key := spec.GetChildKey()
		if key == "" {
			key = "#" + itoa(spec.GetChildIndex())
		}
		// The workflow is part of it: an SDK may give one index to two children.
		p.childKey = spec.GetParentTaskRunId() + "/" + string(w.ID) + "/" + key
		if p.existing, ok = s.children.Get(p.childKey); ok {
			return p, nil
		}
	}
	return p, m.planPin(tenant, &p)
}

// planPin checks a desired worker, and finds the one to prefer for a child
// that declares a strategy and names none.
func (m *Machine) planPin(tenant TenantID, p *plan) *Refusal {
	s := m.st
	want := p.spec.GetDesiredWorker()
	if want == "" {
		parent := TaskRunID(p.spec.GetParentTaskRunId())
		if parent == "" || p.version.Sticky == StrategyNone {
			return nil
		}
		if t, ok := s.tasks.Get(parent); ok && t.Status.Held() {
			p.prefer = t.Worker
		}
		return nil
	}
	if !ValidUUID(want) {
		return refuse(CodeInvalid, "desired_worker_id", want, "must be the UUID of a worker", "")
	}
	if p.version.Sticky == StrategyNone {
		return refuse(CodeInvalid, "desired_worker_id", want,
			"workflow "+itoq(p.version.Name)+" declares no sticky strategy", "declare sticky SOFT or HARD on the child workflow, or spawn it without sticky")
	}
	w, ok := s.workers.Get(WorkerID(want))
	if !ok || w.Tenant != tenant {
		return refuse(CodeInvalid, "desired_worker_id", want, "no such worker", "see `limpet worker list`")
	}
	for i := range p.version.Tasks {
		if a := p.version.Tasks[i].Action; !w.HasAction(a) {
			return refuse(CodeInvalid, "desired_worker_id", want,
				"worker "+itoq(w.Name)+" has not registered the action "+itoq(a)+" of workflow "+itoq(p.version.Name), "register the child workflow with the same worker as its parent")
		}
	}
	p.desired = w
	return nil
}

func (m *Machine) startRun(tenant TenantID, p *plan) {
	s, spec, v := m.st, p.spec, p.version
	r := &Run{
		ID: RunID(spec.GetRunId()), Tenant: tenant, Workflow: v.Workflow, Version: v.ID, Seq: s.nextRunSeq(),
		Status: Queued, Priority: or(or(spec.GetPriority(), v.DefaultPriority), 1), Input: spec.GetInput(), Metadata: spec.GetMetadata(),
		ParentRun: RunID(spec.GetParentRunId()), ParentTaskRun: TaskRunID(spec.GetParentTaskRunId()),
		ChildKey: p.childKey, ChildIndex: spec.GetChildIndex(), Labels: wishesFrom(spec.GetLabels()), Prefer: p.prefer, OnLost: OnLost(spec.GetOnLost()),
		Open: int32(len(v.Tasks)), CreatedAt: s.stamp.Instant, CreatedWall: s.stamp.Wall,
	}
	if p.event != nil {
		r.EventID, r.EventKey = p.event.ID, p.event.Key
	}
	for i := range v.Tasks {
		r.Tasks = append(r.Tasks, taskRunID(r.ID, i, len(v.Tasks)))
	}
	s.setRun(r)
	if p.childKey != "" {
		s.children.Set(p.childKey, r.ID)
	}
	if p.desired != nil {
		s.setPin(r.ID, &Pin{
			Run: r.ID, Tenant: tenant, Strategy: v.Sticky, Worker: p.desired.ID, Cause: PinDesired,
			Seq: s.seq, Since: s.stamp.Instant, Wall: s.stamp.Wall,
		})
	}
	for i := range v.Tasks {
		t := &TaskRun{
			ID: r.Tasks[i], Run: r.ID, Tenant: tenant, Version: v.ID, Index: i, Status: Blocked,
			Waiting: int32(len(v.Tasks[i].Parents)),
		}
		if !v.conditional && t.Waiting == 0 && i != v.OnFailure {
			m.enqueue(t) // what ready comes to
		} else {
			s.setTask(t)
		}
	}
	if v.conditional {
		m.readyRoots(r, v)
	}
	m.effect(RunChanged, string(r.ID))
}

// readyRoots takes the task runs on that wait for no other, once all of the run are there:
// conditions may end some of them, and with them others.
func (m *Machine) readyRoots(r *Run, v *Version) {
	for i, id := range r.Tasks {
		if t, _ := m.st.tasks.Get(id); t.Waiting == 0 && i != v.OnFailure {
			n := *t
			m.end(m.ready(&n))
		}
	}
}

// nextRunSeq gives runs of one command different places in the list of runs.
func (s *State) nextRunSeq() Seq {
	last, _, _ := s.runOrder.Max()
	return max(s.seq, last+1)
}

func (m *Machine) cancelTasks(c *limpetv1.CancelTasks) (Result, *Refusal) {
	s := m.st
	var todo []*TaskRun
	for i, id := range c.GetIds() {
		if r, ok := s.runs.Get(RunID(id)); ok && string(r.Tenant) == c.GetTenantId() {
			for _, t := range r.Tasks {
				if tr, ok := s.tasks.Get(t); ok {
					todo = append(todo, tr)
				}
			}
			continue
		}
		t, ok := s.tasks.Get(TaskRunID(id))
		if !ok || string(t.Tenant) != c.GetTenantId() {
			return Result{}, refuse(CodeNotFound, "external_ids["+itoa(i)+"]", id, "no such run or task run", "see `limpet run list`")
		}
		todo = append(todo, t)
	}
	reason := or(c.GetReason(), "cancelled by a caller")
	var res Result
	for i := 0; i < len(todo); i++ {
		t := todo[i]
		if s.settings.CancelChildren {
			todo = append(todo, s.spawnedBy(t.ID)...)
		}
		// An earlier one may have ended this one, as its parent.
		now, ok := s.tasks.Get(t.ID)
		if !ok || now.Status.Final() || slices.Contains(res.IDs, string(t.ID)) {
			continue
		}
		res.IDs = append(res.IDs, string(t.ID))
		m.finish(now, Cancelled, nil, reason)
	}
	res.Ignored = len(res.IDs) == 0
	m.auditBatch(c.GetTenantId(), c.GetActor(), "run cancel", c.GetIds(), c.GetReason(), res)
	return res, nil
}

// spawnedBy gives the task runs of the runs that a task run spawned.
func (s *State) spawnedBy(parent TaskRunID) []*TaskRun {
	var out []*TaskRun
	s.scanSpawned(parent, func(_ string, id RunID) {
		r, ok := s.runs.Get(id)
		if !ok {
			return
		}
		for _, t := range r.Tasks {
			if tr, ok := s.tasks.Get(t); ok {
				out = append(out, tr)
			}
		}
	})
	return out
}

// scanSpawned visits the runs that a task run spawned, by their dedupe key.
func (s *State) scanSpawned(parent TaskRunID, visit func(key string, run RunID)) {
	prefix := string(parent) + "/"
	s.children.Ascend(prefix, func(k string, run RunID) bool {
		if !strings.HasPrefix(k, prefix) {
			return false
		}
		visit(k, run)
		return true
	})
}
