package scheduler_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/scheduler"
)

const tenant = "11111111-1111-4111-8111-111111111111"

// world is a machine that only the test writes to; decide shows what the
// scheduler would do, settle does it.
type world struct {
	tb testing.TB
	m  *fsm.Machine
	n  int
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, m: fsm.NewMachine()}
	w.apply(&limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{TenantId: tenant, ClusterId: "c", KeyId: "k", Key: []byte{1}}}})
	return w
}

func (w *world) id() string {
	w.n++
	return fmt.Sprintf("00000000-0000-7000-8000-%012x", w.n)
}

func (w *world) apply(cmds ...fsm.Command) []fsm.Result {
	w.tb.Helper()
	out := w.m.ApplyCommands(cmds).Results
	for _, r := range out {
		if r.Refusal != nil {
			w.tb.Fatal(r.Refusal)
		}
	}
	return out
}

func (w *world) workflow(name string, sticky limpetv1.Strategy, tasks ...*limpetv1.TaskDefinition) {
	w.tb.Helper()
	for _, t := range tasks {
		t.Action = name + ":" + t.GetName()
	}
	raw, err := proto.Marshal(&limpetv1.WorkflowDefinition{Name: name, Sticky: sticky, Tasks: tasks})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.apply(&limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{TenantId: tenant, WorkflowId: w.id(), VersionId: w.id(), Definition: raw}}})
}

func (w *world) worker(slots int32, labels []*limpetv1.Label, actions ...string) string {
	w.tb.Helper()
	id := w.id()
	w.apply(
		&limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
			TenantId: tenant, WorkerId: id, Name: id, Actions: actions, Labels: labels, Slots: []*limpetv1.SlotRequest{{Type: "default", Units: slots}},
		}}},
		&limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{WorkerId: id, Node: "node-1", Session: "s" + id}}},
	)
	return id
}

func (w *world) trigger(workflow string, change ...func(*limpetv1.RunSpec)) string {
	w.tb.Helper()
	spec := &limpetv1.RunSpec{RunId: w.id(), Workflow: workflow, Input: []byte(`{}`)}
	for _, f := range change {
		f(spec)
	}
	return w.apply(&limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{TenantId: tenant, Runs: []*limpetv1.RunSpec{spec}}}})[0].IDs[0]
}

func (w *world) decide() []*limpetv1.Assign {
	w.tb.Helper()
	var out []*limpetv1.Assign
	for _, c := range scheduler.Plan(w.m.View()) {
		out = append(out, c.GetAssign())
	}
	return out
}

func (w *world) settle() {
	w.tb.Helper()
	w.apply(scheduler.Plan(w.m.View())...)
}

func label(key, text string) *limpetv1.Label { return &limpetv1.Label{Key: key, Text: text} }

func wish(key, text string, weight int32, required bool) *limpetv1.LabelWish {
	return &limpetv1.LabelWish{Label: label(key, text), Weight: weight, Required: required}
}

func TestRequiredLabelsThenWeightThenLoad(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_NONE, &limpetv1.TaskDefinition{
		Name: "a", Labels: []*limpetv1.LabelWish{wish("gpu", "yes", 100, true), wish("zone", "b", 50, false)},
	})
	w.worker(9, []*limpetv1.Label{label("zone", "b")}, "w:a") // idle and near, and has no GPU
	far := w.worker(9, []*limpetv1.Label{label("gpu", "yes")}, "w:a")
	near := w.worker(2, []*limpetv1.Label{label("gpu", "yes"), label("zone", "b")}, "w:a")
	want := []string{near, near, far, far}
	for range want {
		w.trigger("w")
	}
	got := w.decide()
	if len(got) != len(want) {
		t.Fatalf("%d assignments, want %d", len(got), len(want))
	}
	for i, a := range got {
		if a.GetWorkerId() != want[i] {
			t.Errorf("assignment %d went to %s, want %s", i, a.GetWorkerId(), want[i])
		}
	}
}

func TestTheLeastLoadedWorkerIsTakenInTurn(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_NONE, &limpetv1.TaskDefinition{Name: "a"})
	one, two := w.worker(4, nil, "w:a"), w.worker(4, nil, "w:a")
	for range 6 {
		w.trigger("w")
	}
	count := map[string]int{}
	for _, a := range w.decide() {
		count[a.GetWorkerId()]++
	}
	if count[one] != 3 || count[two] != 3 {
		t.Errorf("spread %v, want three each", count)
	}
}

func TestParallelRootsStartTogether(t *testing.T) {
	w := newWorld(t)
	for _, s := range []limpetv1.Strategy{limpetv1.Strategy_STRATEGY_SOFT, limpetv1.Strategy_STRATEGY_HARD} {
		name := strings.ToLower(s.String())
		w.workflow(name, s, &limpetv1.TaskDefinition{Name: "a"}, &limpetv1.TaskDefinition{Name: "b"})
	}
	soft, hard := "strategy_soft", "strategy_hard"
	small := w.worker(1, nil, hard+":a", hard+":b", soft+":a", soft+":b")
	large := w.worker(9, nil, hard+":a", hard+":b", soft+":a", soft+":b")
	w.trigger(soft)
	w.trigger(hard)
	for _, a := range w.decide() {
		if a.GetWorkerId() == small {
			t.Errorf("a root went to the worker that cannot take both")
		}
	}
	if n := len(w.decide()); n != 4 {
		t.Errorf("%d roots were placed, want 4 on %s", n, large)
	}
}

func TestASmallFleetDelaysNobody(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, &limpetv1.TaskDefinition{Name: "a"}, &limpetv1.TaskDefinition{Name: "b"})
	w.worker(1, nil, "w:a", "w:b")
	w.trigger("w")
	if n := len(w.decide()); n != 1 {
		t.Errorf("%d assignments, want the one that there is room for, at once", n)
	}
}

func TestHigherPriorityAndOlderRunsGoFirst(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_NONE, &limpetv1.TaskDefinition{Name: "a"})
	w.workflow("x", limpetv1.Strategy_STRATEGY_NONE, &limpetv1.TaskDefinition{Name: "a"})
	w.trigger("w")
	first := w.trigger("x", func(s *limpetv1.RunSpec) { s.Priority = 3 })
	second := w.trigger("w", func(s *limpetv1.RunSpec) { s.Priority = 3 })
	w.worker(2, nil, "w:a", "x:a")
	got := w.decide()
	if len(got) != 2 || got[0].GetTaskRunId() != first || got[1].GetTaskRunId() != second {
		t.Errorf("got %v, want %s then %s", got, first, second)
	}
}

func TestWaitingHardRunsAreNotLookedAt(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_HARD, &limpetv1.TaskDefinition{Name: "a"})
	gone := w.worker(1, nil, "w:a")
	for range 50 {
		w.trigger("w", func(s *limpetv1.RunSpec) { s.DesiredWorker = gone })
	}
	w.settle()
	if _, ok := w.m.View().Attention(""); ok || w.m.View().HasWork() {
		t.Error("a full worker's HARD runs are looked at; want them to cost nothing until a slot is free")
	}
	if n := len(w.decide()); n != 0 {
		t.Errorf("%d assignments, want none", n)
	}
}

func TestDecideIsPureAndBounded(t *testing.T) {
	w := newWorld(t)
	w.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, &limpetv1.TaskDefinition{Name: "a"})
	w.worker(5000, nil, "w:a")
	for range scheduler.MaxAssignments + 10 {
		w.trigger("w")
	}
	v := w.m.View()
	before := v.Hash()
	one, two := scheduler.Plan(v), scheduler.Plan(v)
	if len(one) != scheduler.MaxAssignments || len(two) != len(one) {
		t.Fatalf("%d and %d assignments, want %d", len(one), len(two), scheduler.MaxAssignments)
	}
	for i := range one {
		if !proto.Equal(one[i], two[i]) {
			t.Fatalf("assignment %d differs between two calls: %v, %v", i, one[i], two[i])
		}
	}
	if v.Hash() != before {
		t.Error("Decide changed the view")
	}
}

// BenchmarkDecide places one task run while others wait for a lost worker, and
// among many workers.
func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct{ parked, workers int }{{0, 1}, {10_000, 1}, {100_000, 1}, {0, 1_000}, {0, 10_000}} {
		b.Run(fmt.Sprintf("parked=%d/workers=%d", c.parked, c.workers), func(b *testing.B) {
			w := newWorld(b)
			w.workflow("w", limpetv1.Strategy_STRATEGY_HARD, &limpetv1.TaskDefinition{Name: "a"})
			gone := w.worker(1, nil, "w:a")
			for range c.parked {
				w.trigger("w", func(s *limpetv1.RunSpec) { s.DesiredWorker = gone })
			}
			w.settle()
			for range c.workers {
				w.worker(4, nil, "w:a")
			}
			w.trigger("w")
			v := w.m.View()
			for b.Loop() {
				if n := len(scheduler.Plan(v)); n != 1 {
					b.Fatalf("%d assignments, want 1", n)
				}
			}
		})
	}
}
