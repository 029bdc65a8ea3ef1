package fsm_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/scheduler"
)

const testTenant = "11111111-1111-4111-8111-111111111111"

// bed is the bare machine with the scheduler, as the proposer joins them: a
// batch of commands, then the decisions on its outcome in the same entry. Names
// stand for ids in scenarios.
type bed struct {
	t       testing.TB
	m       *fsm.Machine
	now     fsm.Instant
	minted  int
	names   map[string]string // scenario name -> id
	last    fsm.Result
	fenced  int
	entries []*fsm.Entry
	// unchecked leaves the invariants out, for benchmarks.
	unchecked bool
	// incarnation is that of the process that stands behind a worker's name.
	incarnation map[string]string
}

func newBed(tb testing.TB) *bed {
	tb.Helper()
	b := &bed{t: tb, m: fsm.NewMachine(), names: map[string]string{}, incarnation: map[string]string{}}
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
		TenantId: testTenant, TenantName: "default", ClusterId: "c1", KeyId: "k1", Key: []byte{1},
	}}})
	return b
}

// mint gives a new id, deterministic in the bed.
func (b *bed) mint() string {
	b.minted++
	return fmt.Sprintf("00000000-0000-7000-8000-%012x", b.minted)
}

func (b *bed) id(name string) string {
	if b.names[name] == "" {
		b.names[name] = b.mint()
	}
	return b.names[name]
}

func (b *bed) nameOf(id string) string {
	for _, name := range slices.Sorted(maps.Keys(b.names)) {
		if b.names[name] == id {
			return name
		}
	}
	return id
}

// do applies the commands and then what the scheduler decides, as one entry.
func (b *bed) do(cmds ...fsm.Command) fsm.Result {
	b.t.Helper()
	stamp := fsm.Stamp{Instant: b.now, Wall: int64(b.now)}
	entry := &fsm.Entry{Stamp: stamp, Commands: slices.Clone(cmds)}
	out := b.m.Begin(stamp)
	b.fenced += out.Fenced
	out = b.m.ApplyCommands(cmds)
	b.fenced += out.Fenced
	if len(out.Results) > 0 {
		b.last = out.Results[0]
	}
	for {
		more := scheduler.Plan(b.m.View())
		for i, r := range b.m.ApplyCommands(more).Results {
			if r.Refusal != nil {
				b.t.Fatalf("the machine refused a decision that it was made for: %v: %v", more[i], r.Refusal)
			}
		}
		entry.Commands = append(entry.Commands, more...)
		if len(more) < scheduler.MaxAssignments {
			break
		}
	}
	b.entries = append(b.entries, entry)
	if b.unchecked {
		return b.last
	}
	if bad := b.m.View().Check(); len(bad) > 0 {
		b.t.Fatalf("invariants do not hold: %s", strings.Join(bad, "; "))
	}
	return b.last
}

// sleep lets cluster time pass, entry by entry at each deadline, as the leader
// does.
func (b *bed) sleep(d time.Duration) {
	end := b.now.Add(d)
	for {
		at, ok := b.m.Peek().NextDeadline()
		if !ok || at > end {
			break
		}
		b.now = max(b.now, at)
		b.do()
	}
	b.now = end
	b.do()
}

// ---- commands by name

type taskSpec struct {
	name    string
	parents []string
	opts    map[string]string
}

func (b *bed) workflow(name string, sticky limpetv1.Strategy, tasks []taskSpec) fsm.Result {
	b.t.Helper()
	def := &limpetv1.WorkflowDefinition{Name: name, Sticky: sticky}
	for _, t := range tasks {
		td := &limpetv1.TaskDefinition{
			Name: t.name, Action: name + ":" + t.name, Parents: t.parents,
			Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}},
		}
		if v := t.opts["retries"]; v != "" {
			td.Retries = int32(atoi(b.t, v))
		}
		if v := t.opts["schedule"]; v != "" {
			td.ScheduleTimeout = int64(dur(b.t, v))
		}
		if v := t.opts["timeout"]; v != "" {
			td.ExecutionTimeout = int64(dur(b.t, v))
		}
		if v := t.opts["backoff"]; v != "" {
			td.BackoffFactorMilli = int64(atoi(b.t, v)) * 1000
		}
		if v := t.opts["label"]; v != "" {
			key, val, _ := strings.Cut(v, "=")
			td.Labels = []*limpetv1.LabelWish{{Label: &limpetv1.Label{Key: key, Text: val}, Required: t.opts["required"] != "", Weight: 100}}
		}
		td.Conditions = append(td.Conditions, conditions(b.t, "wait", limpetv1.ConditionAction_CONDITION_ACTION_QUEUE, t.opts["wait"])...)
		td.Conditions = append(td.Conditions, conditions(b.t, "skip", limpetv1.ConditionAction_CONDITION_ACTION_SKIP, t.opts["skip"])...)
		td.Conditions = append(td.Conditions, conditions(b.t, "cancel", limpetv1.ConditionAction_CONDITION_ACTION_CANCEL, t.opts["cancel"])...)
		if v := t.opts["slots"]; v != "" {
			td.Slots[0].Units = int32(atoi(b.t, v))
		}
		if t.opts["onfailure"] != "" {
			def.OnFailure = td
		} else {
			def.Tasks = append(def.Tasks, td)
		}
	}
	raw := marshal(b.t, def)
	return b.do(&limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
		TenantId: testTenant, WorkflowId: b.mint(), VersionId: b.mint(), Definition: raw,
	}}})
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// conditions reads groups joined by &, of alternatives joined by |, each
// sleep/10s, event/KEY[/EXPRESSION] or parent/TASK/EXPRESSION.
func conditions(tb testing.TB, name string, action limpetv1.ConditionAction, text string) []*limpetv1.Condition {
	tb.Helper()
	var out []*limpetv1.Condition
	if text == "" {
		return nil
	}
	for g, group := range strings.Split(text, "&") {
		for alt := range strings.SplitSeq(group, "|") {
			f := append(strings.SplitN(alt, "/", 3), "", "")
			c := &limpetv1.Condition{Action: action, Group: fmt.Sprintf("%s-%d", name, g), Key: f[1], Expression: f[2]}
			switch f[0] {
			case "sleep":
				c.Kind, c.Sleep = limpetv1.ConditionKind_CONDITION_KIND_SLEEP, int64(dur(tb, f[1]))
			case "event":
				c.Kind, c.EventKey = limpetv1.ConditionKind_CONDITION_KIND_EVENT, f[1]
			case "parent":
				c.Kind, c.Parent = limpetv1.ConditionKind_CONDITION_KIND_PARENT, f[1]
			default:
				tb.Fatalf("unknown condition %q", alt)
			}
			out = append(out, c)
		}
	}
	return out
}

func (b *bed) register(name string, slots int32, labels []*limpetv1.Label, actions ...string) {
	b.t.Helper()
	slices.Sort(actions)
	b.enroll(&limpetv1.RegisterWorker{
		WorkerId: b.id(name), Name: name, Actions: actions, Labels: labels,
		Slots: []*limpetv1.SlotRequest{{Type: "default", Units: slots}},
	})
}

// enroll registers; the name stands for the id that it gets.
func (b *bed) enroll(c *limpetv1.RegisterWorker) fsm.Result {
	b.t.Helper()
	c.TenantId = testTenant
	res := b.do(&limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: c}})
	if res.Refusal == nil {
		b.names[c.GetName()] = res.IDs[0]
		b.incarnation[c.GetName()] = c.GetIncarnation()
	}
	return res
}

func (b *bed) attach(name, node string) {
	b.t.Helper()
	b.minted++
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{
		WorkerId: b.id(name), Node: node, Session: fmt.Sprintf("s%d", b.minted), Incarnation: b.incarnation[name],
	}}})
}

func (b *bed) worker(name string) *fsm.Worker {
	b.t.Helper()
	w, ok := b.m.Peek().Worker(fsm.WorkerID(b.id(name)))
	if !ok {
		b.t.Fatalf("no worker %q", name)
	}
	return w
}

func (b *bed) detach(name string) {
	b.t.Helper()
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_DetachSession{DetachSession: &limpetv1.DetachSession{
		WorkerId: b.id(name), Session: string(b.worker(name).Lease.Session), Reason: "stream broke",
	}}})
}

func (b *bed) lose(name string) {
	b.t.Helper()
	w := b.worker(name)
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_LoseLease{LoseLease: &limpetv1.LoseLease{
		WorkerId: string(w.ID), Epoch: w.Lease.Epoch, Session: string(w.Lease.Session), Reason: "silence",
	}}})
}

func (b *bed) mode(name string, mode limpetv1.WorkerMode) {
	b.t.Helper()
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
		TenantId: testTenant, WorkerId: b.id(name), Mode: mode,
	}}})
}

// drain lets the worker go; by is a duration, or empty for no deadline.
func (b *bed) drain(name, by string) {
	b.t.Helper()
	c := &limpetv1.SetWorkerMode{TenantId: testTenant, WorkerId: b.id(name), Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING}
	if by != "" {
		c.Deadline = int64(dur(b.t, by))
	}
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: c}})
}

func (b *bed) trigger(spec *limpetv1.RunSpec) fsm.Result {
	b.t.Helper()
	return b.do(&limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
		TenantId: testTenant, Runs: []*limpetv1.RunSpec{spec},
	}}})
}

// task finds run.task, named as in the scenario.
func (b *bed) task(path string) *fsm.TaskRun {
	b.t.Helper()
	run, task, _ := strings.Cut(path, ".")
	v := b.m.Peek()
	r, ok := v.Run(fsm.RunID(b.id(run)))
	if !ok {
		b.t.Fatalf("no run %q", run)
	}
	for _, id := range r.Tasks {
		if t, ok := v.TaskRun(id); ok && (v.Task(t).Name == task || task == "") {
			return t
		}
	}
	b.t.Fatalf("no task %q", path)
	return nil
}

func (b *bed) report(verb, path string, attempt int32, text string) {
	b.t.Helper()
	b.do(reportCommand(verb, string(b.task(path).ID), attempt, text))
}

func reportCommand(verb, task string, attempt int32, text string) fsm.Command {
	switch verb {
	case "started":
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportStarted{ReportStarted: &limpetv1.ReportStarted{
			TenantId: testTenant, TaskRunId: task, Attempt: attempt,
		}}}
	case "cancelled":
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportCancelled{ReportCancelled: &limpetv1.ReportCancelled{
			TenantId: testTenant, TaskRunId: task, Attempt: attempt,
		}}}
	case "failed":
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportFailed{ReportFailed: &limpetv1.ReportFailed{
			TenantId: testTenant, TaskRunId: task, Attempt: attempt, Error: text,
		}}}
	default:
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
			TenantId: testTenant, TaskRunId: task, Attempt: attempt, Output: []byte(or(text, `{}`)),
		}}}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func atoi(tb testing.TB, s string) int {
	tb.Helper()
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil {
		tb.Fatalf("not a number: %q", s)
	}
	return n
}

func dur(tb testing.TB, s string) time.Duration {
	tb.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
