package rpc_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestATaskGoesFromTriggerToResult(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []grpc.DialOption
	}{
		{"plain", nil},
		{"gzip", []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := transporttest.New(t, transporttest.Config{})
			client := cluster.Nodes[0].Client(t, c.opts...)
			version, err := client.Dispatcher.GetVersion(transporttest.Context(t), &compat.GetVersionRequest{})
			if err != nil || version.GetVersion() != "v0.80.0" {
				t.Fatal(version, err)
			}
			client.Put(t, oneTask("greet"))
			id := client.Register(t, worker("greet:greet"))
			stream := client.Listen(t, id)
			if _, err := client.Dispatcher.Heartbeat(transporttest.Context(t), &compat.HeartbeatRequest{WorkerId: string(id)}); err != nil {
				t.Fatal(err)
			}
			if cluster.Nodes[0].Vouched(id) < 2 {
				t.Error("the node was not told that the worker lives")
			}
			in := trigger("Greet", `{"n": 12345678901234567890}`)
			in.AdditionalMetadata, in.Priority = ptr(`{"who":"me"}`), proto.Int32(3)
			run := client.Trigger(t, in)
			results1 := subscribe(t, client, run)

			a := stream.Next(t)
			wantOrder(t, cluster, a, run)
			stream.Started(t, a)
			stream.Completed(t, a, `{"text":"hello"}`)
			e := results1.next()
			if diff := cmp.Diff(map[string]string{"greet": `{"text":"hello"}`}, results(e)); diff != "" {
				t.Error(diff)
			}
			if e.GetWorkflowRunId() != string(run) || e.GetResults()[0].GetTaskRunExternalId() != a.GetTaskRunExternalId() {
				t.Errorf("the event is %v", e)
			}
			details, err := client.Admin.GetRunDetails(transporttest.Context(t), &compatv1.GetRunDetailsRequest{ExternalId: string(run)})
			if err != nil {
				t.Fatal(err)
			}
			d := details.GetTaskRuns()["greet"]
			if !details.GetDone() || details.GetStatus() != compatv1.RunStatus_COMPLETED || string(d.GetOutput()) != `{"text":"hello"}` ||
				d.Error != nil || d.GetStatus() != compatv1.RunStatus_COMPLETED || string(details.GetAdditionalMetadata()) != `{"who":"me"}` {
				t.Errorf("the details are %v", details)
			}
			if n := cluster.Nodes[0].Counters.Dispatched.Load(); n != 1 {
				t.Errorf("%d orders were sent, want 1", n)
			}
		})
	}
}

func wantOrder(t *testing.T, cluster *transporttest.Cluster, a *compat.AssignedAction, run fsm.RunID) {
	t.Helper()
	r, ok := cluster.View().Run(run)
	if !ok {
		t.Fatal("the run is not in the state")
	}
	if a.GetActionType() != compat.ActionType_START_STEP_RUN || a.GetWorkflowRunId() != string(run) || a.GetTaskRunExternalId() != string(run) ||
		a.GetJobId() != string(run) || a.GetJobRunId() != string(run) || a.GetTaskId() != string(run) ||
		a.GetActionId() != "greet:greet" || a.GetTaskName() != "greet" || a.GetRetryCount() != 0 || a.GetPriority() != 3 ||
		a.GetAdditionalMetadata() != `{"who":"me"}` || a.GetTenantId() != string(cluster.Tenant) ||
		a.GetWorkflowId() != string(r.Workflow) || a.GetWorkflowVersionId() != string(r.Version) || a.ParentWorkflowRunId != nil ||
		a.ChildWorkflowIndex != nil {
		t.Errorf("the order is %v", a)
	}
	const want = `{"input":{"n": 12345678901234567890},"triggered_by":"manual","parents":{},"triggers":{"filter_payload":null},"user_data":null,"overrides":null}`
	if a.GetActionPayload() != want {
		t.Errorf("the payload is\n%s\nwant\n%s", a.GetActionPayload(), want)
	}
}

func TestAFanInGetsTheOutputsOfItsParents(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, dag("sum", "a", "b", "c<a,b"))
	stream := client.Listen(t, client.Register(t, worker("sum:a", "sum:b", "sum:c")))
	run := client.Trigger(t, trigger("sum", ""))
	s := subscribe(t, client, run)
	for range 2 {
		a := stream.Next(t)
		if a.AdditionalMetadata != nil {
			t.Errorf("there is no metadata, and the order has %q", a.GetAdditionalMetadata())
		}
		stream.Started(t, a)
		stream.Completed(t, a, `{"from":"`+a.GetTaskName()+`"}`)
	}
	c := stream.Next(t)
	var payload struct {
		Input   json.RawMessage
		Parents map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(c.GetActionPayload()), &payload); err != nil {
		t.Fatal(err)
	}
	if c.GetTaskName() != "c" || string(payload.Input) != "{}" || len(payload.Parents) != 2 ||
		string(payload.Parents["a"]) != `{"from":"a"}` || string(payload.Parents["b"]) != `{"from":"b"}` {
		t.Errorf("task %s got %s", c.GetTaskName(), c.GetActionPayload())
	}
	stream.Completed(t, c, `{"sum":3}`)
	want := map[string]string{"a": `{"from":"a"}`, "b": `{"from":"b"}`, "c": `{"sum":3}`}
	if diff := cmp.Diff(want, results(s.next())); diff != "" {
		t.Error(diff)
	}
}

func TestReportsMayComeInAnyOrderAndTwice(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", "{}"))
	a := stream.Next(t)
	stream.Report(t, a, compat.StepActionEventType_STEP_EVENT_TYPE_ACKNOWLEDGED, "")
	stream.Completed(t, a, `{"n":1}`)
	stream.Started(t, a)
	stream.Completed(t, a, `{"n":1}`)
	stream.Failed(t, a, "too late")
	s := subscribe(t, client, run, run)
	if diff := cmp.Diff(map[string]string{"w": `{"n":1}`}, results(s.next())); diff != "" {
		t.Error(diff)
	}
	s.ask(run) // once more after its answer
	if err := s.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		if _, err := s.stream.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		n++
	}
	if n < 1 || n > 2 {
		t.Errorf("%d answers after the first", n)
	}
}

func TestAReportOfAFencedAttemptIsAnsweredAndCounted(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	w := oneTask("w")
	w.Tasks[0].Retries = 1
	client.Put(t, w)
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", "{}"))
	first := stream.Next(t)
	stream.Started(t, first)
	stream.Failed(t, first, "again")
	second := stream.Next(t)
	if second.GetRetryCount() <= first.GetRetryCount() {
		t.Errorf("the second attempt has number %d", second.GetRetryCount())
	}
	stream.Completed(t, first, `{"zombie":true}`)
	if n := node.Counters.Fenced.Load(); n != 1 {
		t.Errorf("%d reports are counted as fenced, want 1", n)
	}
	stream.Completed(t, second, `{"n":2}`)
	if diff := cmp.Diff(map[string]string{"w": `{"n":2}`}, results(subscribe(t, client, run).next())); diff != "" {
		t.Error(diff)
	}
}

func TestAFailureReachesCallerAndOnFailureTask(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	w := oneTask("w")
	w.OnFailureTask = &compatv1.CreateTaskOpts{ReadableId: "on_failure", Action: "w:on_failure"}
	client.Put(t, w)
	stream := client.Listen(t, client.Register(t, worker("w:w", "w:on_failure")))
	s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
	const text = `{"message":"no \"luck\"","stack":""}`
	stream.Failed(t, stream.Next(t), text)
	a := stream.Next(t)
	var payload struct {
		Errors map[string]string `json:"step_run_errors"`
	}
	if err := json.Unmarshal([]byte(a.GetActionPayload()), &payload); err != nil {
		t.Fatal(err)
	}
	if a.GetTaskName() != "on_failure" || payload.Errors["w"] != text {
		t.Errorf("task %s got %s", a.GetTaskName(), a.GetActionPayload())
	}
	stream.Completed(t, a, "{}")
	if diff := cmp.Diff(map[string]string{"w": "!" + text, "on_failure": "{}"}, results(s.next())); diff != "" {
		t.Error(diff)
	}
}

func TestAnOnFailureTaskThatIsNotNeededIsNoResult(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	w := oneTask("w")
	w.OnFailureTask = &compatv1.CreateTaskOpts{ReadableId: "on_failure", Action: "w:on_failure"}
	client.Put(t, w)
	stream := client.Listen(t, client.Register(t, worker("w:w", "w:on_failure")))
	s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
	stream.Completed(t, stream.Next(t), "")
	if diff := cmp.Diff(map[string]string{"w": "{}"}, results(s.next())); diff != "" {
		t.Error(diff)
	}
}

func TestAnOutputThatCannotBeUsedFailsTheTask(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
	stream.Completed(t, stream.Next(t), `{"n":`)
	const want = `!the task completed, but its output cannot be used: output "{\"n\":": must be valid JSON: unexpected end of JSON input at byte 5`
	if diff := cmp.Diff(map[string]string{"w": want}, results(s.next())); diff != "" {
		t.Error(diff)
	}
}

func TestABatchReportIsTaken(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	resp, err := client.Workflows.BulkTriggerWorkflow(transporttest.Context(t), &compat.BulkTriggerWorkflowRequest{
		Workflows: []*compatv1.TriggerWorkflowRequest{trigger("w", `{"n":0}`), trigger("w", `{"n":1}`)},
	})
	if err != nil || len(resp.GetWorkflowRunIds()) != 2 {
		t.Fatal(resp, err)
	}
	batch := &compat.BatchActionEvent{WorkerId: string(id)}
	for range 2 {
		a := stream.Next(t)
		batch.Items = append(batch.Items, &compat.BatchActionEventItem{
			TaskRunExternalId: a.GetTaskRunExternalId(), EventPayload: `{"run":"` + a.GetWorkflowRunId() + `"}`,
		})
	}
	for _, kind := range []compat.StepActionEventType{
		compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED,
	} {
		batch.EventType = kind
		if _, err := client.Dispatcher.SendBatchActionEvent(transporttest.Context(t), batch); err != nil {
			t.Fatal(err)
		}
		want := map[bool]fsm.Status{true: fsm.Running, false: fsm.Completed}[kind == compat.StepActionEventType_STEP_EVENT_TYPE_STARTED]
		for _, item := range batch.GetItems() {
			if got, _ := cluster.View().TaskRun(fsm.TaskRunID(item.GetTaskRunExternalId())); got.Status != want {
				t.Errorf("after %s a task run is %s, want %s", kind, got.Status, want)
			}
		}
	}
	batch.Items[1].TaskRunExternalId = "00000000-0000-7000-8000-000000000000"
	if _, err := client.Dispatcher.SendBatchActionEvent(transporttest.Context(t), batch); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a report on no task run: %v", err)
	}
	for i, run := range resp.GetWorkflowRunIds() {
		r, _ := cluster.View().Run(fsm.RunID(run))
		if string(r.Input) != []string{`{"n":0}`, `{"n":1}`}[i] {
			t.Errorf("run %d has the input %s", i, r.Input)
		}
		if diff := cmp.Diff(map[string]string{"w": `{"run":"` + run + `"}`}, results(subscribe(t, client, fsm.RunID(run)).next())); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCancelReachesWorkerAndCaller(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*compatv1.CancelTasksRequest, fsm.RunID)
	}{
		{"by id", func(r *compatv1.CancelTasksRequest, run fsm.RunID) { r.ExternalIds = []string{string(run)} }},
		{"by filter", func(r *compatv1.CancelTasksRequest, _ fsm.RunID) {
			r.Filter = &compatv1.TasksFilter{Statuses: []string{"QUEUED", "RUNNING"}, AdditionalMetadata: []string{"who:me"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := transporttest.New(t, transporttest.Config{})
			client := cluster.Nodes[0].Client(t)
			client.Put(t, oneTask("w"))
			stream := client.Listen(t, client.Register(t, worker("w:w")))
			in := trigger("w", "{}")
			in.AdditionalMetadata = ptr(`{"who":"me"}`)
			run := client.Trigger(t, in)
			a := stream.Next(t)
			stream.Started(t, a)
			other := client.Trigger(t, trigger("w", "{}"))
			b := stream.Next(t)
			req := &compatv1.CancelTasksRequest{}
			c.change(req, run)
			resp, err := client.Admin.CancelTasks(transporttest.Context(t), req)
			if err != nil || len(resp.GetCancelledTasks()) != 1 {
				t.Fatal(resp, err)
			}
			order := stream.Next(t)
			if order.GetActionType() != compat.ActionType_CANCEL_STEP_RUN || order.GetTaskRunExternalId() != a.GetTaskRunExternalId() ||
				order.GetRetryCount() != a.GetRetryCount() {
				t.Errorf("the order is %v", order)
			}
			text := results(subscribe(t, client, run).next())["w"]
			if len(text) < 2 || text[0] != '!' {
				t.Errorf("the caller gets %q, want an error", text)
			}
			stream.Completed(t, b, "{}")
			if diff := cmp.Diff(map[string]string{"w": "{}"}, results(subscribe(t, client, other).next())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATaskOverItsTimeIsCancelledButNotOnRuby(t *testing.T) {
	for _, c := range []struct {
		language compat.SDKS
		cancels  int64
	}{{compat.SDKS_GO, 1}, {compat.SDKS_RUBY, 0}} {
		t.Run(c.language.String(), func(t *testing.T) {
			cluster := transporttest.New(t, transporttest.Config{})
			client := cluster.Nodes[0].Client(t)
			client.Put(t, oneTask("w"))
			r := worker("w:w")
			r.RuntimeInfo = &compat.RuntimeInfo{Language: &c.language}
			stream := client.Listen(t, client.Register(t, r))
			s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
			a := stream.Next(t)
			stream.Started(t, a)
			// The session has seen it run once another order has come through.
			client.Trigger(t, trigger("w", "{}"))
			stream.Next(t)
			cluster.Advance(61 * time.Second)
			if text := results(s.next())["w"]; len(text) < 2 || text[0] != '!' {
				t.Errorf("the caller gets %q, want an error", text)
			}
			if c.cancels > 0 {
				if order := stream.Next(t); order.GetActionType() != compat.ActionType_CANCEL_STEP_RUN {
					t.Errorf("the order is %v", order)
				}
			}
			client.Trigger(t, trigger("w", "{}"))
			for order := stream.Next(t); order.GetActionType() != compat.ActionType_START_STEP_RUN; order = stream.Next(t) {
				if c.cancels == 0 {
					t.Errorf("a Ruby worker got %v", order)
				}
			}
		})
	}
}

func TestAnUnknownRunIsAnswered(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	s := subscribe(t, client, "0190d3a4-0000-7000-8000-00000000000a", "nonsense")
	for range 2 {
		e := s.next()
		text := e.GetResults()[0].GetError()
		want := map[string]string{
			"0190d3a4-0000-7000-8000-00000000000a": `workflow run "0190d3a4-0000-7000-8000-00000000000a": no such run: check the id; finished runs are kept for a limited time`,
			"nonsense":                             `workflow run "nonsense": must be a valid UUID`,
		}[e.GetWorkflowRunId()]
		if text != want {
			t.Errorf("run %q gives %q, want %q", e.GetWorkflowRunId(), text, want)
		}
	}
}

func TestAChildOfARetriedParentIsTheSame(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("parent"))
	client.Put(t, oneTask("child"))
	stream := client.Listen(t, client.Register(t, worker("parent:parent", "child:child")))
	parent := client.Trigger(t, trigger("parent", "{}"))
	p := stream.Next(t)
	spawn := trigger("child", "{}")
	spawn.ParentId, spawn.ParentTaskRunExternalId, spawn.ChildIndex = ptr(string(parent)), ptr(p.GetTaskRunExternalId()), proto.Int32(4)
	child := client.Trigger(t, spawn)
	if again := client.Trigger(t, spawn); again != child {
		t.Errorf("the same child became runs %s and %s", child, again)
	}
	a := stream.Next(t)
	if a.GetWorkflowRunId() != string(child) || a.GetParentWorkflowRunId() != string(parent) || a.GetChildWorkflowIndex() != 4 || a.ChildWorkflowKey != nil {
		t.Errorf("the order is %v", a)
	}
	spawn.ChildKey = ptr("key")
	if other := client.Trigger(t, spawn); other == child {
		t.Error("a child with a key is taken for another")
	}
	if b := stream.Next(t); b.GetChildWorkflowKey() != "key" {
		t.Errorf("the order is %v", b)
	}
}
