package fsm

import (
	"fmt"
	"slices"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// Limits of the events that are kept, to be looked at and pushed again.
const (
	maxEvents     = 1000
	maxEventBytes = 64 << 20
)

// Event is something that happened outside, told by a client.
type Event struct {
	ID       string
	Tenant   TenantID
	Key      string
	Payload  []byte // JSON object
	Metadata []byte
	Scope    string
	Seq      Seq
	Wall     int64
}

func (e *Event) fields(c *codec) {
	str(c, 1, &e.ID)
	str(c, 2, &e.Tenant)
	str(c, 3, &e.Key)
	raw(c, 4, &e.Payload)
	raw(c, 5, &e.Metadata)
	str(c, 6, &e.Scope)
	num(c, 7, &e.Seq)
	num(c, 8, &e.Wall)
}

// Case is a condition whose expression the leader has to judge: on the output
// of a parent, or, if it names an event, on that event's payload. It is open
// until the leader's verdict is applied, normally within one entry.
type Case struct {
	Task    TaskRunID
	Cond    int
	Event   string
	Payload []byte
}

func (x *Case) fields(c *codec) {
	str(c, 1, &x.Task)
	num(c, 2, &x.Cond)
	str(c, 3, &x.Event)
	raw(c, 4, &x.Payload)
}

func (x *Case) key() string { return fmt.Sprintf("%s/%04d/%s", x.Task, x.Cond, x.Event) }

func (m *Machine) pushEvents(c *limpetv1.PushEvents) (Result, *Refusal) {
	s, tenant := m.st, TenantID(c.GetTenantId())
	for i, e := range c.GetEvents() {
		field := "events[" + itoa(i) + "]."
		if !ValidUUID(e.GetId()) {
			return Result{}, refuse(CodeInvalid, field+"id", e.GetId(), "must be a UUID", "")
		}
		if e.GetKey() == "" {
			return Result{}, refuse(CodeInvalid, field+"key", "", "must not be empty", "give the event a key")
		}
	}
	if no := m.roomForEvents(tenant, c.GetEvents()); no != nil {
		return Result{}, no
	}
	var res Result
	for _, e := range c.GetEvents() {
		res.IDs = append(res.IDs, e.GetId())
		if _, ok := s.events.Get(e.GetId()); ok {
			continue
		}
		last, _, _ := s.eventAge.Max()
		x := &Event{
			ID: e.GetId(), Tenant: tenant, Key: e.GetKey(), Payload: e.GetPayload(), Metadata: e.GetMetadata(),
			Scope: e.GetScope(), Seq: max(s.seq, last+1), Wall: e.GetWall(),
		}
		s.events.Set(x.ID, x)
		s.eventAge.Set(x.Seq, x.ID)
		s.eventBytes += len(x.Payload) + len(x.Metadata)
		m.offer(x)
		m.startByEvent(x, e.GetPriority(), e.GetOnLost())
	}
	for s.eventAge.Len() > maxEvents || s.eventBytes > maxEventBytes {
		seq, id, _ := s.eventAge.Min()
		if old, ok := s.events.Get(id); ok {
			s.eventBytes -= len(old.Payload) + len(old.Metadata)
		}
		s.eventAge.Delete(seq)
		s.events.Delete(id)
	}
	return res, nil
}

// offer shows an event to the conditions that wait for its key.
func (m *Machine) offer(e *Event) {
	s := m.st
	var found []listenKey
	s.listening.Ascend(listenKey{tenant: e.Tenant, key: e.Key}, func(k listenKey) bool {
		if k.tenant != e.Tenant || k.key != e.Key {
			return false
		}
		found = append(found, k)
		return true
	})
	var touched []TaskRunID // in the order of found, each once
	for _, k := range found {
		t, ok := s.tasks.Get(k.task)
		if !ok {
			continue
		}
		c := &s.taskOf(t).Conditions[k.cond]
		if len(touched) == 0 || touched[len(touched)-1] != k.task {
			touched = append(touched, k.task)
		}
		switch {
		case c.EventScope != "" && c.EventScope != e.Scope:
		case c.Expression == "":
			s.mark(k.task, k.cond, CondMet, e.Payload)
		default:
			x := &Case{Task: k.task, Cond: k.cond, Event: e.ID, Payload: e.Payload}
			s.cases.Set(x.key(), x)
		}
	}
	// What one event does to a task run counts together: skip before queue.
	for _, id := range touched {
		m.resume(id)
	}
}

// startByEvent starts the workflows that the event triggers. A run's id follows
// from the event's and the workflow's, so that every machine mints the same.
func (m *Machine) startByEvent(e *Event, priority int32, onLost limpetv1.OnLost) {
	s := m.st
	for _, v := range s.startedBy(e.Tenant, e.Key) {
		id := string(taskRunID(RunID(e.ID), int(fold(string(v.Workflow))), 2))
		if _, ok := s.runs.Get(RunID(id)); ok {
			continue
		}
		m.startRun(e.Tenant, &plan{version: v, event: e, spec: &limpetv1.RunSpec{
			RunId: id, Workflow: v.Name, Input: e.Payload, Metadata: e.Metadata, Priority: priority, OnLost: onLost,
		}})
	}
}

// startedBy gives the versions of which an event of that key starts a run.
func (s *State) startedBy(tenant TenantID, key string) []*Version {
	var found []*Version
	s.workflows.Scan(func(_ WorkflowID, w *Workflow) bool {
		v, ok := s.versions.Get(w.Latest)
		if ok && w.Tenant == tenant && len(v.Unserved) == 0 && !v.Filtered && slices.Contains(v.EventTriggers, key) {
			found = append(found, v)
		}
		return true
	})
	return found
}

// NewJudgement makes the leader's verdict on a case; fault says why its
// expression could not be evaluated.
func NewJudgement(x *Case, holds bool, fault string) Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_JudgeCondition{JudgeCondition: &limpetv1.JudgeCondition{
		TaskRunId: string(x.Task), Condition: int32(x.Cond), EventId: x.Event, Holds: holds, Error: fault,
	}}}
}

func (m *Machine) judgeCondition(c *limpetv1.JudgeCondition) (Result, *Refusal) {
	s := m.st
	key := (&Case{Task: TaskRunID(c.GetTaskRunId()), Cond: int(c.GetCondition()), Event: c.GetEventId()}).key()
	x, ok := s.cases.Get(key)
	if !ok {
		return Result{}, refuse(CodeStale, "task_run_id", c.GetTaskRunId(), "has no such condition to be judged", "")
	}
	s.cases.Delete(key)
	t, ok := s.tasks.Get(x.Task)
	switch {
	case !ok || t.Status != Blocked:
	case c.GetError() != "" && x.Event == "":
		m.finish(t, Failed, nil, "the condition "+itoq(s.taskOf(t).Conditions[x.Cond].Expression)+" cannot be evaluated: "+c.GetError())
	case c.GetHolds():
		s.mark(x.Task, x.Cond, CondMet, x.Payload)
	case x.Event == "":
		s.mark(x.Task, x.Cond, CondUnmet, nil)
	}
	m.resume(x.Task)
	return Result{IDs: []string{string(x.Task)}}, nil
}

// Event looks a pushed event up; the oldest are forgotten.
func (v View) Event(id string) (*Event, bool) { return v.st.events.Get(id) }

// Question is a case with what its expression is about.
type Question struct {
	Case       *Case
	Expression string
	// Output is the parent's output, JSON; Payload that of the event. One is nil.
	Output, Payload []byte
}

// Questions gives at most so many of the cases that wait for a verdict.
func (v View) Questions(limit int) []Question {
	s := v.st
	var out []Question
	s.cases.Scan(func(_ string, x *Case) bool {
		q := Question{Case: x, Payload: x.Payload}
		if t, ok := s.tasks.Get(x.Task); ok {
			c := &s.taskOf(t).Conditions[x.Cond]
			q.Expression = c.Expression
			if r, ok := s.runs.Get(t.Run); ok && c.Kind == CondParent {
				p, _ := s.tasks.Get(r.Tasks[c.Parent])
				q.Output = parentOutput(p)
			}
		}
		out = append(out, q)
		return len(out) < limit
	})
	return out
}

// parentOutput is what a condition sees of a parent.
func parentOutput(p *TaskRun) []byte {
	if p.Status == Skipped {
		return []byte(`{"skipped":true}`)
	}
	return p.Output
}
