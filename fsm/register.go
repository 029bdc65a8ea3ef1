package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// MaxTasks bounds the tasks of one workflow.
const MaxTasks = 1000

func (m *Machine) putWorkflow(c *limpetv1.PutWorkflow) (Result, *Refusal) {
	s, tenant := m.st, TenantID(c.GetTenantId())
	if _, ok := s.tenants.Get(tenant); !ok {
		return Result{}, refuse(CodeNotFound, "tenant_id", c.GetTenantId(), "no such tenant", "use a token of this cluster")
	}
	if !ValidUUID(c.GetWorkflowId()) || !ValidUUID(c.GetVersionId()) {
		return Result{}, refuse(CodeInvalid, "workflow_id", c.GetWorkflowId(), "must be a UUID", "")
	}
	v := &Version{
		ID: VersionID(c.GetVersionId()), Tenant: tenant, Definition: c.GetDefinition(), CreatedWall: s.stamp.Wall, Order: 1,
	}
	if no := v.parse(); no != nil {
		return Result{}, no
	}
	w := &Workflow{ID: WorkflowID(c.GetWorkflowId()), Tenant: tenant, Name: v.Name, CreatedWall: s.stamp.Wall}
	if id, ok := s.names.Get(workflowKey(tenant, v.Name)); ok {
		old, _ := s.workflows.Get(id)
		if latest, ok := s.versions.Get(old.Latest); ok && bytes.Equal(latest.Definition, v.Definition) {
			return Result{IDs: []string{string(latest.ID), string(old.ID)}, Ignored: true}, nil
		}
		n := *old
		w = &n
	}
	v.Workflow, v.Order = w.ID, w.Versions+1
	w.Latest, w.Versions = v.ID, v.Order
	s.versions.Set(v.ID, v)
	s.setWorkflow(w)
	return Result{IDs: []string{string(v.ID), string(w.ID)}}, nil
}

// parse fills the version's fields from its definition and checks them.
func (v *Version) parse() *Refusal {
	var d limpetv1.WorkflowDefinition
	if err := proto.Unmarshal(v.Definition, &d); err != nil {
		return refuse(CodeInvalid, "definition", err.Error(), "must be a workflow definition", "")
	}
	v.Name, v.Sticky, v.DefaultPriority, v.OnFailure = d.GetName(), Strategy(d.GetSticky()), d.GetDefaultPriority(), -1
	v.Tasks, v.Unserved = nil, unserved(&d)
	v.EventTriggers, v.Filtered = d.GetEventTriggers(), len(d.GetDefaultFilters()) > 0
	defs := d.GetTasks()
	switch {
	case strings.TrimSpace(v.Name) == "":
		return refuse(CodeInvalid, "name", v.Name, "must not be empty", "give the workflow a name")
	case len(defs) == 0:
		return refuse(CodeInvalid, "tasks", v.Name, "a workflow needs at least one task", "")
	case len(defs) > MaxTasks:
		return refuse(CodeInvalid, "tasks", itoa(len(defs)), fmt.Sprintf("at most %d tasks", MaxTasks), "split the workflow")
	case v.Sticky > StrategyHard:
		return refuse(CodeInvalid, "sticky", itoa(v.Sticky), "must be SOFT or HARD", "")
	}
	if d.GetOnFailure() != nil {
		v.OnFailure = len(defs)
		defs = append(slices.Clone(defs), d.GetOnFailure())
	}
	for i, t := range defs {
		if no := v.addTask(i, t, defs); no != nil {
			return no
		}
	}
	v.conditional = false
	for i := range v.Tasks {
		v.Tasks[i].class = string(v.ID) + "/" + itoa(i)
		v.conditional = v.conditional || len(v.Tasks[i].Conditions) > 0
		for _, p := range v.Tasks[i].Parents {
			v.Tasks[p].Children = append(v.Tasks[p].Children, i)
		}
	}
	return v.acyclic()
}

func (v *Version) addTask(i int, t *limpetv1.TaskDefinition, defs []*limpetv1.TaskDefinition) *Refusal {
	field := fmt.Sprintf("tasks[%d]", i)
	if t.GetName() == "" {
		return refuse(CodeInvalid, field+".readable_id", "", "must not be empty", "give every task a name")
	}
	if t.GetAction() == "" {
		return refuse(CodeInvalid, field+".action", "", "must not be empty", "an action is <workflow>:<task>")
	}
	if t.GetRetries() < 0 {
		return refuse(CodeInvalid, field+".retries", itoa(t.GetRetries()), "must not be negative", "")
	}
	task := Task{
		Name: t.GetName(), Action: strings.ToLower(t.GetAction()), Retries: t.GetRetries(),
		BackoffFactor: t.GetBackoffFactorMilli(), BackoffMax: time.Duration(t.GetBackoffMax()),
		ExecutionTimeout: time.Duration(t.GetExecutionTimeout()), ScheduleTimeout: time.Duration(t.GetScheduleTimeout()),
		Slots: slotsFrom(t.GetSlots()), Labels: wishesFrom(t.GetLabels()), UserData: t.GetUserData(),
	}
	if len(task.Slots) == 0 {
		task.Slots = []Slots{{Type: "default", Units: 1}}
	}
	for _, s := range task.Slots {
		if s.Units < 1 {
			return refuse(CodeInvalid, field+".slot_requests."+s.Type, itoa(s.Units), "must be at least 1", "")
		}
	}
	for j := range i {
		if v.Tasks[j].Name == t.GetName() {
			return refuse(CodeInvalid, field+".readable_id", t.GetName(), "is the name of another task of the workflow", "names must differ")
		}
	}
	for _, p := range t.GetParents() {
		j := slices.IndexFunc(defs, func(o *limpetv1.TaskDefinition) bool { return o.GetName() == p })
		if j < 0 || j == v.OnFailure {
			return refuse(CodeInvalid, field+".parents", p, "names no task of the workflow", "parents are named by their readable_id")
		}
		if !slices.Contains(task.Parents, j) {
			task.Parents = append(task.Parents, j)
		}
	}
	var no *Refusal
	if task.Conditions, no = conditionsFrom(field, t, task.Parents, defs); no != nil {
		return no
	}
	v.Tasks = append(v.Tasks, task)
	return nil
}

// acyclic refuses a definition whose tasks wait for each other in a circle, and
// names the circle.
func (v *Version) acyclic() *Refusal {
	waiting := make([]int, len(v.Tasks))
	var ready []int
	for i := range v.Tasks {
		if waiting[i] = len(v.Tasks[i].Parents); waiting[i] == 0 {
			ready = append(ready, i)
		}
	}
	done := 0
	for ; len(ready) > 0; done++ {
		i := ready[0]
		ready = ready[1:]
		for _, c := range v.Tasks[i].Children {
			if waiting[c]--; waiting[c] == 0 {
				ready = append(ready, c)
			}
		}
	}
	if done == len(v.Tasks) {
		return nil
	}
	at := slices.IndexFunc(waiting, func(n int) bool { return n > 0 })
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		parents := v.Tasks[at].Parents
		at = parents[slices.IndexFunc(parents, func(p int) bool { return waiting[p] > 0 })]
	}
	path = append(path[slices.Index(path, at):], at)
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = v.Tasks[p].Name
	}
	return refuse(CodeInvalid, "tasks", strings.Join(names, " <- "), "the parents form a cycle", "a task may not wait for itself, directly or through others")
}

// unserved names the features of the definition that would change what a run
// does and that this build does not serve. The registration is kept whole; a
// trigger is refused, so that nothing runs with half of its meaning.
func unserved(d *limpetv1.WorkflowDefinition) []string {
	var out []string
	add := func(on bool, name string) {
		if on && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	add(len(d.GetConcurrency()) > 0, "concurrency")
	add(d.GetIdempotency() != nil, "idempotency")
	tasks := d.GetTasks()
	if d.GetOnFailure() != nil {
		tasks = append(slices.Clone(tasks), d.GetOnFailure())
	}
	for _, t := range tasks {
		add(len(t.GetConcurrency()) > 0, "concurrency")
		add(len(t.GetRateLimits()) > 0, "rate limits")
		add(t.GetBatch() != nil, "batch tasks")
		add(t.GetDurable(), "durable tasks")
	}
	return out
}
