package fsm_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// naive is what a careful reader with a pencil would keep of the machine: the
// last seen state of every task run and pin, in plain maps, and the rules in
// their plainest form. After every command it looks at everything.
type naive struct {
	*bed
	t        *rapid.T
	flows    []naiveFlow
	workers  []string
	runs     []string
	tasks    map[fsm.TaskRunID]fsm.TaskRun
	pins     map[fsm.RunID]fsm.Pin
	failures map[fsm.TaskRunID]int32
	gone     map[fsm.WorkerID]bool // lost or draining at the last look
	released map[fsm.RunID]bool
	onLost   map[fsm.RunID]limpetv1.OnLost // the runs' own word
	policy   map[string]limpetv1.OnLost    // the workflows'
	places   naivePlaces
}

type naiveFlow struct {
	name    string
	sticky  fsm.Strategy
	parents map[string][]string
	retries int32
}

func TestTheMachineAgreesWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := &naive{
			bed: newBed(t), t: rt, tasks: map[fsm.TaskRunID]fsm.TaskRun{}, pins: map[fsm.RunID]fsm.Pin{},
			failures: map[fsm.TaskRunID]int32{}, gone: map[fsm.WorkerID]bool{}, released: map[fsm.RunID]bool{},
			onLost: map[fsm.RunID]limpetv1.OnLost{}, policy: map[string]limpetv1.OnLost{}, places: naivePlaces{start: map[string]int{}, generation: map[string]int{}},
		}
		n.found()
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			n.step()
		}
		n.finish()
		replay(t, n.bed)
	})
}

// found registers workflows and workers.
func (n *naive) found() {
	var actions []string
	for i := range 3 {
		f := naiveFlow{
			name: fmt.Sprintf("w%d", i), sticky: fsm.Strategy(i), parents: map[string][]string{},
			retries: int32(rapid.IntRange(0, 2).Draw(n.t, "retries")),
		}
		var specs []taskSpec
		for j := range rapid.IntRange(1, 4).Draw(n.t, "tasks") {
			s := taskSpec{name: fmt.Sprintf("t%d", j), opts: map[string]string{"retries": fmt.Sprint(f.retries), "schedule": "100h"}}
			for k := range j {
				if rapid.Bool().Draw(n.t, "parent") {
					s.parents = append(s.parents, fmt.Sprintf("t%d", k))
				}
			}
			f.parents[s.name] = s.parents
			specs = append(specs, s)
			actions = append(actions, f.name+":"+s.name)
		}
		if res := n.workflow(f.name, limpetv1.Strategy(i), specs); res.Refusal != nil {
			n.t.Fatal(res.Refusal)
		}
		n.flows = append(n.flows, f)
	}
	for i := range 3 {
		w := fmt.Sprintf("worker%d", i)
		n.workers = append(n.workers, w)
		n.places.slots, n.places.actions = int32(rapid.IntRange(1, 4).Draw(n.t, "slots")), actions
		n.start(w)
		n.attach(w, "node-1")
	}
	n.look("start", nil)
}

// step plays one random command and looks.
func (n *naive) step() {
	w := rapid.SampledFrom(n.workers).Draw(n.t, "worker")
	switch verb := rapid.SampledFrom([]string{
		"trigger", "trigger", "trigger", "report", "report", "report", "report", "detach", "lose", "attach", "pause", "drain", "resume", "cancel", "release", "sleep",
		"restart", "wipe", "claim", "exit", "drain by", "move", "policy",
	}).Draw(n.t, "verb"); verb {
	case "trigger":
		n.triggerOne(w)
	case "report":
		n.reportOne()
	case "detach":
		n.detach(w)
	case "lose":
		if n.worker(w).Lease.State != fsm.LeaseLost {
			n.lose(w)
		}
	case "attach":
		n.attach(w, "node-2")
	case "pause", "drain", "resume":
		n.mode(w, map[string]limpetv1.WorkerMode{"pause": 1, "drain": 2, "resume": 0}[verb])
	case "restart", "wipe", "claim", "exit":
		n.place(verb, w)
	case "drain by":
		n.drain(w, fmt.Sprintf("%ds", rapid.IntRange(1, 5).Draw(n.t, "deadline")))
	case "move":
		n.moveOne(w)
	case "policy":
		n.setPolicy()
	case "cancel", "release":
		if len(n.runs) == 0 {
			return
		}
		run := rapid.SampledFrom(n.runs).Draw(n.t, "run")
		if verb == "cancel" {
			n.do(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{TenantId: testTenant, Ids: []string{run}}}})
		} else if res := n.do(&limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{ReleasePin: &limpetv1.ReleasePin{TenantId: testTenant, RunId: run, Reason: "test"}}}); res.Refusal == nil {
			n.released[fsm.RunID(run)] = true
		}
	case "sleep":
		n.sleep(time.Duration(rapid.IntRange(1, 40).Draw(n.t, "seconds")) * time.Second / 10)
	}
	n.look("step", nil)
}

func (n *naive) triggerOne(worker string) {
	f := rapid.SampledFrom(n.flows).Draw(n.t, "flow")
	spec := &limpetv1.RunSpec{RunId: n.mint(), Workflow: f.name, Input: []byte(`{}`)}
	if f.sticky != fsm.StrategyNone && rapid.Bool().Draw(n.t, "desired") {
		spec.DesiredWorker = n.id(worker)
	}
	spec.OnLost = limpetv1.OnLost(rapid.IntRange(0, 3).Draw(n.t, "on_lost"))
	n.onLost[fsm.RunID(spec.GetRunId())] = spec.GetOnLost()
	if w, ok := n.m.Peek().Worker(fsm.WorkerID(spec.GetDesiredWorker())); ok && w.Lease.State == fsm.LeaseLost && n.repins(fsm.RunID(spec.GetRunId()), f.name) {
		n.released[fsm.RunID(spec.GetRunId())] = true
	}
	first := n.trigger(spec)
	if first.Refusal != nil {
		n.t.Fatalf("a good trigger was refused: %v", first.Refusal)
	}
	if again := n.trigger(spec); again.Refusal != nil || !again.Ignored || again.IDs[0] != first.IDs[0] {
		n.t.Fatalf("a repeated trigger gave %+v, want the same run and no change", again)
	}
	n.runs = append(n.runs, spec.GetRunId())
}

// repins reports whether a lost worker loses the run's pin.
func (n *naive) repins(run fsm.RunID, workflow string) bool {
	word := n.onLost[run]
	if word == limpetv1.OnLost_ON_LOST_UNSET {
		word = n.policy[workflow]
	}
	return word == limpetv1.OnLost_ON_LOST_REPIN
}

// setPolicy changes a workflow's word, also for what waits already.
func (n *naive) setPolicy() {
	f := rapid.SampledFrom(n.flows).Draw(n.t, "flow")
	n.policy[f.name] = limpetv1.OnLost(rapid.IntRange(1, 3).Draw(n.t, "policy"))
	n.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkflow{SetWorkflow: &limpetv1.SetWorkflow{
		TenantId: testTenant, Workflow: f.name, OnLost: n.policy[f.name], Actor: "ops",
	}}})
}

// reportOne reports on a random task run, at a random attempt, twice.
func (n *naive) reportOne() {
	ids := slices.Sorted(maps.Keys(n.tasks))
	if len(ids) == 0 {
		return
	}
	before := n.tasks[rapid.SampledFrom(ids).Draw(n.t, "task")]
	verb := rapid.SampledFrom([]string{"started", "completed", "completed", "failed"}).Draw(n.t, "report")
	attempt := max(0, before.Attempt+int32(rapid.IntRange(-1, 1).Draw(n.t, "attempt")))
	for range 2 {
		n.do(reportCommand(verb, string(before.ID), attempt, "boom"))
		want := n.expect(before, verb, attempt)
		n.look(verb, func(now fsm.TaskRun) {
			if now.ID == before.ID && !slices.Contains(want, now.Status) {
				n.t.Fatalf("%s at attempt %d of a task run that was %s at %d: it is %s, want one of %v", verb, attempt, before.Status, before.Attempt, now.Status, want)
			}
		})
		before = n.tasks[before.ID]
	}
}

// expect gives the states that a report may lead to. What is queued may be
// assigned in the same entry.
func (n *naive) expect(before fsm.TaskRun, verb string, attempt int32) []fsm.Status {
	if attempt != before.Attempt || !before.Status.Held() {
		return []fsm.Status{before.Status, fsm.Assigned} // refused: only the scheduler may have acted
	}
	switch verb {
	case "started":
		return []fsm.Status{fsm.Running}
	case "completed":
		return []fsm.Status{fsm.Completed}
	}
	if n.failures[before.ID]++; n.failures[before.ID] > n.flowOf(before).retries {
		return []fsm.Status{fsm.Failed}
	}
	return []fsm.Status{fsm.Queued, fsm.Assigned}
}

func (n *naive) flowOf(t fsm.TaskRun) naiveFlow {
	v, _ := n.m.Peek().Version(t.Version)
	i := slices.IndexFunc(n.flows, func(f naiveFlow) bool { return f.name == v.Name })
	return n.flows[i]
}

// look compares everything with the last look, by the plain rules.
func (n *naive) look(what string, each func(fsm.TaskRun)) {
	v := n.m.Peek()
	held := map[fsm.WorkerID]int32{}
	for r := range v.Runs(false) {
		var all []fsm.TaskRun
		for _, id := range r.Tasks {
			t, _ := v.TaskRun(id)
			all = append(all, *t)
			n.transition(what, n.tasks[id], *t)
			if t.Status.Held() {
				held[t.Worker]++
			}
			if each != nil {
				each(*t)
			}
			n.tasks[id] = *t
		}
		n.dag(all)
		n.verdict(r, all)
		n.pin(v, r, all)
	}
	for w := range v.Workers() {
		if held[w.ID] > w.Slots[0].Units {
			n.t.Fatalf("worker %s holds %d of %d slots", w.Name, held[w.ID], w.Slots[0].Units)
		}
		n.gone[w.ID] = w.Lease.State == fsm.LeaseLost || w.Mode == fsm.ModeDraining
	}
}

func (n *naive) transition(what string, old, now fsm.TaskRun) {
	if old.ID == "" {
		return
	}
	if old.Status.Final() && (now.Status != old.Status || now.Attempt != old.Attempt) {
		n.t.Fatalf("%s: task run %s was %s and is %s", what, now.ID, old.Status, now.Status)
	}
	if now.Attempt < old.Attempt {
		n.t.Fatalf("%s: the attempt of %s went back from %d to %d", what, now.ID, old.Attempt, now.Attempt)
	}
	if old.Status.Held() && now.Status.Held() && now.Attempt == old.Attempt && now.Worker != old.Worker {
		n.t.Fatalf("%s: attempt %d of %s changed hands", what, now.Attempt, now.ID)
	}
}

// dag: a task run has begun only if all its parents are completed, and a failed
// or cancelled parent ends it.
func (n *naive) dag(all []fsm.TaskRun) {
	v := n.m.Peek()
	state := map[string]fsm.Status{}
	for i := range all {
		state[v.Task(&all[i]).Name] = all[i].Status
	}
	for i := range all {
		name := v.Task(&all[i]).Name
		done, broken := true, false
		for _, p := range n.flowOf(all[i]).parents[name] {
			done = done && state[p] == fsm.Completed
			broken = broken || state[p] == fsm.Failed || state[p] == fsm.Cancelled
		}
		switch s := state[name]; {
		case !done && s != fsm.Blocked && s != fsm.Cancelled:
			n.t.Fatalf("task %s is %s and its parents are not completed", name, s)
		case done && s == fsm.Blocked:
			n.t.Fatalf("task %s is blocked and its parents are completed", name)
		case broken && !s.Final() && n.allFinal(state, n.flowOf(all[i]).parents[name]):
			n.t.Fatalf("task %s is %s and a parent has failed", name, s)
		}
	}
}

func (n *naive) allFinal(state map[string]fsm.Status, names []string) bool {
	return !slices.ContainsFunc(names, func(p string) bool { return !state[p].Final() })
}

func (n *naive) verdict(r *fsm.Run, all []fsm.TaskRun) {
	is := func(s fsm.Status) func(fsm.TaskRun) bool { return func(t fsm.TaskRun) bool { return t.Status == s } }
	open := slices.ContainsFunc(all, func(t fsm.TaskRun) bool { return !t.Status.Final() })
	want := fsm.Completed
	switch {
	case open && !r.Status.Final():
		return
	case open:
		want = fsm.Running
	case slices.ContainsFunc(all, is(fsm.Failed)):
		want = fsm.Failed
	case slices.ContainsFunc(all, is(fsm.Cancelled)):
		want = fsm.Cancelled
	}
	if r.Status != want {
		n.t.Fatalf("run is %s, want %s", r.Status, want)
	}
}

// pin: HARD stays where it is, SOFT moves only off a worker that is gone, and
// nobody but the pinned worker holds a task of a HARD run.
func (n *naive) pin(v fsm.View, r *fsm.Run, all []fsm.TaskRun) {
	p, ok := v.Pin(r.ID)
	old, had := n.pins[r.ID]
	if old, known := n.pins[r.ID]; known && n.repins(r.ID, n.flowOf(all[0]).name) && n.lostNow(v, old.Worker) {
		n.released[r.ID] = true
	}
	released := n.released[r.ID]
	if released {
		delete(n.released, r.ID)
		had = false
	}
	switch {
	case had && !ok:
		n.t.Fatalf("the pin of run %s is lost", r.ID)
	case had && p.Worker != old.Worker && p.Strategy == fsm.StrategyHard:
		n.t.Fatalf("a HARD pin moved from %s to %s", old.Worker, p.Worker)
	case had && p.Worker != old.Worker:
		w, _ := v.Worker(old.Worker)
		if !n.gone[old.Worker] && w.Lease.State != fsm.LeaseLost && w.Mode != fsm.ModeDraining {
			n.t.Fatalf("a SOFT pin moved off worker %s, which is %s and %s", w.Name, w.Lease.State, w.Mode)
		}
	}
	for i := range all {
		if all[i].Status.Held() && n.flowOf(all[i]).sticky != fsm.StrategyNone && !ok {
			n.t.Fatalf("a sticky run has a task on a worker and no pin")
		}
		if ok && p.Strategy == fsm.StrategyHard && all[i].Status.Held() && all[i].Worker != p.Worker {
			n.t.Fatalf("a HARD run pinned to %s has a task on %s", p.Worker, all[i].Worker)
		}
	}
	if ok {
		n.pins[r.ID] = *p
	} else {
		delete(n.pins, r.ID)
	}
}

// finish heals everything and reports every task run completed: all runs end.
func (n *naive) finish() {
	for _, w := range n.workers {
		n.mode(w, limpetv1.WorkerMode_WORKER_MODE_ACTIVE)
		n.attach(w, "node-1")
	}
	n.unpinStateless()
	n.sleep(time.Second)
	n.look("heal", nil)
	const bound = 2000
	for range bound {
		var next fsm.TaskRun
		live := false
		for _, id := range slices.Sorted(maps.Keys(n.tasks)) {
			live = live || !n.tasks[id].Status.Final()
			if n.tasks[id].Status.Held() {
				next = n.tasks[id]
				break
			}
		}
		switch {
		case !live:
			return
		case next.ID == "":
			n.sleep(time.Second) // patience, delivery
		default:
			n.do(reportCommand("completed", string(next.ID), next.Attempt, ""))
		}
		n.look("finish", nil)
	}
	n.t.Fatalf("runs are not final after everything healed: %+v", n.m.Peek().Counts())
}
