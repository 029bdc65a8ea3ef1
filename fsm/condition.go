package fsm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// ConditionKind says what a condition is about.
type ConditionKind uint8

// The kinds; the numbers are those of limpet.v1.ConditionKind.
const (
	// CondParent: the output of a parent.
	CondParent ConditionKind = iota
	// CondSleep: a time after the parents have ended.
	CondSleep
	// CondEvent: an event pushed after the parents have ended.
	CondEvent
)

// ConditionAction says what happens when all groups of conditions of the action
// hold. Skip comes before cancel, and both before queue.
type ConditionAction uint8

// The actions; the numbers are those of limpet.v1.ConditionAction.
const (
	ActionQueue ConditionAction = iota
	ActionCancel
	ActionSkip
)

// Condition is one condition of a task. Those of one group are alternatives.
type Condition struct {
	Kind       ConditionKind
	Action     ConditionAction
	Group      string
	Key        string
	Expression string // CEL; empty always holds
	Parent     int    // in Version.Tasks
	Sleep      time.Duration
	EventKey   string
	EventScope string // empty for any
}

// CondState is what is known of a condition.
type CondState uint8

// The states of a condition.
const (
	CondOpen CondState = iota
	CondMet
	// CondUnmet: it will never hold.
	CondUnmet
)

// Cond is what a task run knows of one of its task's conditions.
type Cond struct {
	State CondState
	At    Instant // of a sleep: when it is over
	Data  []byte  // of an event: its payload
}

func (x *Cond) fields(c *codec) {
	num(c, 1, &x.State)
	num(c, 2, &x.At)
	raw(c, 3, &x.Data)
}

func conditionsFrom(field string, t *limpetv1.TaskDefinition, parents []int, defs []*limpetv1.TaskDefinition) ([]Condition, *Refusal) {
	var out []Condition
	for i, c := range t.GetConditions() {
		at := fmt.Sprintf("%s.conditions[%d]", field, i)
		x := Condition{
			Kind: ConditionKind(c.GetKind()), Action: ConditionAction(c.GetAction()), Group: or(c.GetGroup(), at), Key: c.GetKey(),
			Expression: c.GetExpression(), Sleep: time.Duration(c.GetSleep()), EventKey: c.GetEventKey(), EventScope: c.GetEventScope(),
		}
		switch x.Kind {
		case CondParent:
			x.Parent = slices.IndexFunc(defs, func(o *limpetv1.TaskDefinition) bool { return o.GetName() == c.GetParent() })
			if !slices.Contains(parents, x.Parent) {
				return nil, refuse(CodeInvalid, at+".parent_readable_id", c.GetParent(), "names no parent of the task", "add it to the task's parents")
			}
		case CondSleep:
			if x.Sleep <= 0 {
				return nil, refuse(CodeInvalid, at+".sleep_for", x.Sleep.String(), "must be longer than 0", "for example 10s")
			}
		case CondEvent:
			if x.EventKey == "" {
				return nil, refuse(CodeInvalid, at+".user_event_key", "", "must not be empty", "name the event to wait for")
			}
		default:
			return nil, refuse(CodeInvalid, at+".kind", itoa(x.Kind), "is not a kind of condition that this version knows", "")
		}
		if x.Action > ActionSkip {
			return nil, refuse(CodeInvalid, at+".action", itoa(x.Action), "must be QUEUE, CANCEL or SKIP", "")
		}
		out = append(out, x)
	}
	return out, nil
}

// arm begins the wait for the conditions of a task run whose parents have all
// ended: sleeps count from now, and only events from now on count.
func (m *Machine) arm(t *TaskRun) {
	s := m.st
	def := s.taskOf(t)
	t.Conds = make([]Cond, len(def.Conditions))
	for i := range def.Conditions {
		switch c := &def.Conditions[i]; c.Kind {
		case CondSleep:
			t.Conds[i].At = s.stamp.Instant.Add(c.Sleep)
		case CondParent:
			if c.Expression == "" {
				t.Conds[i].State = CondMet
			} else {
				x := &Case{Task: t.ID, Cond: i}
				s.cases.Set(x.key(), x)
			}
		case CondEvent:
		}
	}
}

// resolve looks at what the conditions say of an armed task run: it is queued,
// goes on waiting, or ends, for the reason given. The task run must be the
// caller's own copy; it is stored.
func (m *Machine) resolve(t *TaskRun) ending {
	s := m.st
	def := s.taskOf(t)
	if s.hasCase(t.ID) {
		s.setTask(t) // what is judged together counts together
		return ending{}
	}
	t.Deadline = 0
	for i := range t.Conds {
		c := &t.Conds[i]
		if c.State == CondOpen && c.At > s.stamp.Instant && (t.Deadline == 0 || c.At < t.Deadline) {
			t.Deadline = c.At
		}
	}
	switch {
	case def.holds(t.Conds, ActionSkip) == CondMet:
		s.setTask(t)
		return ending{t.ID, Skipped, "its skip condition holds"}
	case def.holds(t.Conds, ActionCancel) == CondMet:
		s.setTask(t)
		return ending{t.ID, Cancelled, "its cancel condition holds"}
	}
	switch def.holds(t.Conds, ActionQueue) {
	case CondMet:
		m.enqueue(t)
	case CondUnmet:
		s.setTask(t)
		return ending{t.ID, Cancelled, "what it waits for can no longer happen: a condition on a parent's output does not hold"}
	case CondOpen:
		s.setTask(t)
	}
	return ending{}
}

// holds says whether all groups of an action hold; unmet if one never will. An
// action without conditions never holds, but for queue, which then always does.
func (t *Task) holds(conds []Cond, action ConditionAction) CondState {
	var groups []string
	best := map[string]CondState{} // by group; read in the order of groups only
	for i := range t.Conditions {
		c := &t.Conditions[i]
		if c.Action != action {
			continue
		}
		had, seen := best[c.Group]
		switch now := conds[i].State; {
		case !seen:
			groups = append(groups, c.Group)
			best[c.Group] = now
		case now == CondMet || had == CondMet:
			best[c.Group] = CondMet
		case now == CondOpen:
			best[c.Group] = CondOpen
		}
	}
	if len(groups) == 0 {
		if action == ActionQueue {
			return CondMet
		}
		return CondUnmet
	}
	out := CondMet
	for _, g := range groups {
		switch best[g] {
		case CondUnmet:
			return CondUnmet
		case CondOpen:
			out = CondOpen
		case CondMet:
		}
	}
	return out
}

// slept marks the sleeps that are over.
func (m *Machine) slept(t *TaskRun) {
	n := *t
	n.Conds = slices.Clone(t.Conds)
	for i := range n.Conds {
		if c := &n.Conds[i]; c.At != 0 && c.At <= m.st.stamp.Instant {
			c.State = CondMet
		}
	}
	m.end(m.resolve(&n))
}

// mark notes what became of a condition.
func (s *State) mark(id TaskRunID, cond int, state CondState, data []byte) {
	t, ok := s.tasks.Get(id)
	if !ok || t.Status != Blocked || cond >= len(t.Conds) || t.Conds[cond].State != CondOpen {
		return
	}
	n := *t
	n.Conds = slices.Clone(t.Conds)
	n.Conds[cond].State, n.Conds[cond].Data = state, data
	s.setTask(&n)
}

// resume takes an armed task run on after marks.
func (m *Machine) resume(id TaskRunID) {
	if t, ok := m.st.tasks.Get(id); ok && t.Status == Blocked && len(t.Conds) > 0 {
		n := *t
		m.end(m.resolve(&n))
	}
}

// hasCase reports whether the leader has yet to judge a condition of the task
// run.
func (s *State) hasCase(id TaskRunID) bool {
	found := false
	s.cases.Ascend(string(id)+"/", func(k string, _ *Case) bool {
		found = strings.HasPrefix(k, string(id)+"/")
		return false
	})
	return found
}

// indexConds enters the events that a blocked task run waits for.
func (s *State) indexConds(t *TaskRun) {
	s.eachListen(t, func(k listenKey) { s.listening.Set(k) })
}

func (s *State) unindexConds(t *TaskRun) {
	s.eachListen(t, func(k listenKey) { s.listening.Delete(k) })
}

func (s *State) eachListen(t *TaskRun, visit func(listenKey)) {
	if len(t.Conds) == 0 {
		return
	}
	def := s.taskOf(t)
	for i := range t.Conds {
		if c := &def.Conditions[i]; c.Kind == CondEvent && t.Conds[i].State == CondOpen {
			visit(listenKey{t.Tenant, c.EventKey, t.ID, i})
		}
	}
}
