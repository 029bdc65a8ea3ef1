package sim

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// The workflows of the workload. An action is named after its workflow, so that
// a worker knows the strategy of what it executes without asking anybody.
type flow struct {
	name   string
	sticky limpetv1.Strategy
	tasks  []step
	event  string // that starts it
	// child is spawned by the first task, which waits for its result.
	child      string
	desired    bool // the child names its parent's worker
	scheduleBy time.Duration
	onFailure  bool
}

type step struct {
	name    string
	parents []string
	retries int32
	flaky   float64
	waits   string // for an event, or some time
}

const (
	soft = limpetv1.Strategy_STRATEGY_SOFT
	hard = limpetv1.Strategy_STRATEGY_HARD
)

func one(flaky float64) []step { return []step{{name: "only", retries: 2, flaky: flaky}} }

func flows() []flow {
	diamond := []step{
		{name: "a"},
		{name: "b", parents: []string{"a"}, retries: 2, flaky: 0.2},
		{name: "c", parents: []string{"a"}},
		{name: "d", parents: []string{"b", "c"}},
	}
	line := []step{{name: "a"}, {name: "b", parents: []string{"a"}, retries: 1, flaky: 0.2}, {name: "c", parents: []string{"b"}}}
	waiting := []step{{name: "a"}, {name: "b", parents: []string{"a"}, waits: "go"}}
	return []flow{
		{name: "plain", tasks: one(0.1)},
		{name: "soft", sticky: soft, tasks: diamond},
		{name: "hard", sticky: hard, tasks: line},
		{name: "soft-one", sticky: soft, tasks: one(0)},
		{name: "hard-one", sticky: hard, tasks: one(0.1)},
		{name: "hard-wide", sticky: hard, tasks: []step{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d", parents: []string{"a", "b", "c"}}}},
		{name: "soft-wait", sticky: soft, tasks: waiting},
		{name: "by-event", sticky: hard, tasks: line, event: "ev"},
		{name: "soft-parent", sticky: soft, tasks: line, child: "hard-one", desired: true},
		{name: "hard-parent", sticky: hard, tasks: line, child: "soft-one"},
		{name: "fragile", sticky: soft, tasks: []step{{name: "a", retries: 1, flaky: 0.7}}, onFailure: true},
		{name: "short", sticky: hard, tasks: line, scheduleBy: 6 * time.Second},
	}
}

// flowOf finds a workflow and its task by an action.
func flowOf(action string) (flow, step) {
	for _, f := range flows() {
		for _, s := range f.tasks {
			if f.name+":"+s.name == action {
				return f, s
			}
		}
		if f.name+":fail" == action {
			return f, step{name: "fail"}
		}
	}
	return flow{}, step{}
}

func (f flow) strategy() string {
	switch f.sticky {
	case soft:
		return fsm.StrategySoft.String()
	case hard:
		return fsm.StrategyHard.String()
	case limpetv1.Strategy_STRATEGY_NONE:
	}
	return ""
}

func (f flow) definition() *limpetv1.WorkflowDefinition {
	d := &limpetv1.WorkflowDefinition{Name: f.name, Sticky: f.sticky}
	if f.event != "" {
		d.EventTriggers = []string{f.event}
	}
	for _, s := range f.tasks {
		t := &limpetv1.TaskDefinition{
			Name: s.name, Action: f.name + ":" + s.name, Parents: s.parents, Retries: s.retries, ScheduleTimeout: int64(f.scheduleBy),
			Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}},
		}
		if s.waits != "" {
			t.Conditions = []*limpetv1.Condition{
				{Kind: limpetv1.ConditionKind_CONDITION_KIND_EVENT, Group: "g", Key: "event", EventKey: s.waits},
				{Kind: limpetv1.ConditionKind_CONDITION_KIND_SLEEP, Group: "g", Key: "time", Sleep: int64(3 * time.Second)},
			}
		}
		d.Tasks = append(d.Tasks, t)
	}
	if f.onFailure {
		d.OnFailure = &limpetv1.TaskDefinition{Name: "fail", Action: f.name + ":fail", Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}}}
	}
	return d
}

// actions are what a worker registers: everything, but for a worker of the
// plain kind, which has no sticky action.
func actions() []string {
	var out []string
	for _, f := range flows() {
		for _, s := range f.tasks {
			out = append(out, f.name+":"+s.name)
		}
		if f.onFailure {
			out = append(out, f.name+":fail")
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) putWorkflow(f flow) (fsm.Command, error) {
	def, err := proto.Marshal(f.definition())
	if err != nil {
		return nil, err
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
		TenantId: tenant, WorkflowId: w.uuid(), VersionId: w.uuid(), Definition: def,
	}}}, nil
}
