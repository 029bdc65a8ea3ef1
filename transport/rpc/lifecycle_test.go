package rpc_test

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// The features that come later: their calls say so.
func later() []string {
	return []string{
		"/v1.V1Dispatcher/DurableTask", "/v1.V1Dispatcher/RegisterDurableEvent", "/v1.V1Dispatcher/ListenForDurableEvent",
		"/v1.AdminService/BranchDurableTask", "/Dispatcher/RestoreEvictedTask", "/Dispatcher/SendGroupKeyActionEvent",
		"/WorkflowService/ScheduleWorkflow", "/WorkflowService/PutRateLimit",
	}
}

func TestOnlyWhatComesLaterIsUnimplemented(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	asked := 0
	for _, svc := range []grpc.ServiceDesc{
		compat.Dispatcher_ServiceDesc, compat.WorkflowService_ServiceDesc, compat.EventsService_ServiceDesc,
		compatv1.AdminService_ServiceDesc, compatv1.V1Dispatcher_ServiceDesc,
	} {
		check := func(name string, err error) {
			asked++
			method := "/" + svc.ServiceName + "/" + name
			if got := status.Code(err) == codes.Unimplemented; got != slices.Contains(later(), method) {
				t.Errorf("%s answers %v", method, err)
			}
		}
		for _, m := range svc.Methods {
			check(m.MethodName, client.Conn.Invoke(transporttest.Context(t), "/"+svc.ServiceName+"/"+m.MethodName, &emptypb.Empty{}, &emptypb.Empty{}))
		}
		for i := range svc.Streams {
			s, err := client.Conn.NewStream(transporttest.Context(t), &svc.Streams[i], "/"+svc.ServiceName+"/"+svc.Streams[i].StreamName)
			if err == nil {
				_ = s.SendMsg(&emptypb.Empty{})
				_ = s.CloseSend()
				err = s.RecvMsg(&emptypb.Empty{})
			}
			check(svc.Streams[i].StreamName, err)
		}
	}
	if asked != 35 {
		t.Errorf("%d methods were asked, want 35", asked)
	}
}

func TestStreamedChunksComeInTheirOrderThroughAnyNode(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2})
	one, two := cluster.Nodes[0].Client(t), cluster.Nodes[1].Client(t)
	one.Put(t, oneTask("w"))
	stream := one.Listen(t, one.Register(t, worker("w:w")))
	in := trigger("w", "{}")
	in.AdditionalMetadata = ptr(`{"session":"s1"}`)
	byMeta, err := two.Dispatcher.SubscribeToWorkflowEvents(transporttest.Context(t), &compat.SubscribeToWorkflowEventsRequest{
		AdditionalMetaKey: ptr("session"), AdditionalMetaValue: ptr("s1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := byMeta.Header(); err != nil {
		t.Fatal(err)
	}
	run := one.Trigger(t, in)
	one.Trigger(t, trigger("w", "{}")) // another, without the metadata
	a := stream.Next(t)
	for a.GetWorkflowRunId() != string(run) {
		a = stream.Next(t)
	}
	stream.Started(t, a)
	byRun, err := two.Dispatcher.SubscribeToWorkflowEvents(transporttest.Context(t), &compat.SubscribeToWorkflowEventsRequest{WorkflowRunId: ptr(string(run))})
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []int64{1, 0, 3, 2, 2} {
		_, err := two.Events.PutStreamEvent(transporttest.Context(t), &compat.PutStreamEventRequest{
			TaskRunExternalId: a.GetTaskRunExternalId(), EventIndex: new(index), Message: []byte{byte('a' + index)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	stream.Completed(t, a, `{"n":1}`)
	want := []string{"STARTED ", "STREAM a", "STREAM b", "STREAM c", "STREAM d", `COMPLETED {"n":1}`, "COMPLETED  hangup"}
	for name, s := range map[string]compat.Dispatcher_SubscribeToWorkflowEventsClient{"by run": byRun, "by metadata": byMeta} {
		var got []string
		for len(got) < len(want) {
			e, err := s.Recv()
			if err != nil {
				t.Fatal(name, got, err)
			}
			line := strings.TrimPrefix(e.GetEventType().String(), "RESOURCE_EVENT_TYPE_") + " " + e.GetEventPayload()
			if e.GetHangup() {
				line += " hangup"
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := byRun.Recv(); err != io.EOF { //nolint:errorlint // the end of a stream is this value
		t.Errorf("the stream of a run that is over ends with %v", err)
	}
}

func TestARetryStreamsAnew(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	flow := oneTask("w")
	flow.Tasks[0].Retries = 1
	client.Put(t, flow)
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", "{}"))
	for _, text := range []string{"first", "second"} {
		a := stream.Next(t)
		_, err := client.Events.PutStreamEvent(transporttest.Context(t), &compat.PutStreamEventRequest{
			TaskRunExternalId: a.GetTaskRunExternalId(), EventIndex: new(int64(0)), Message: []byte(text),
		})
		if err != nil {
			t.Fatal(err)
		}
		if text == "first" {
			stream.Failed(t, a, "boom")
		} else {
			stream.Completed(t, a, "{}")
		}
	}
	events, err := client.Dispatcher.SubscribeToWorkflowEvents(transporttest.Context(t), &compat.SubscribeToWorkflowEventsRequest{WorkflowRunId: ptr(string(run))})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		e, err := events.Recv()
		if err != nil {
			break
		}
		if e.GetEventType() == compat.ResourceEventType_RESOURCE_EVENT_TYPE_STREAM {
			got = append(got, e.GetEventPayload())
		}
	}
	if diff := cmp.Diff([]string{"first", "second"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnEventMeetsAConditionAndStartsARun(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	flow := dag("w", "a")
	flow.Tasks[0].Conditions = &compatv1.TaskConditions{UserEventConditions: []*compatv1.UserEventMatchCondition{{
		Base:         &compatv1.BaseMatchCondition{ReadableDataKey: "paid", Action: compatv1.Action_QUEUE, OrGroupId: "g", Expression: "input.sum > 5"},
		UserEventKey: "order:paid",
	}}}
	client.Put(t, flow)
	started := oneTask("byevent")
	started.EventTriggers = []string{"order:paid"}
	client.Put(t, started)
	stream := client.Listen(t, client.Register(t, worker("w:a", "byevent:byevent")))
	run := client.Trigger(t, trigger("w", "{}"))
	e, err := client.Events.Push(transporttest.Context(t), &compat.PushEventRequest{Key: "order:paid", Payload: `{"sum":9}`})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]*compat.AssignedAction{}
	for range 2 {
		a := stream.Next(t)
		seen[a.GetActionId()] = a
	}
	if a := seen["w:a"]; a.GetWorkflowRunId() != string(run) || !strings.Contains(a.GetActionPayload(), `"triggers":{"filter_payload":null,"paid":{"sum":9}}`) {
		t.Errorf("the waiting task got %v", a)
	}
	if a := seen["byevent:byevent"]; a.GetTriggeringEventExternalId() != e.GetEventId() || a.GetTriggeringEventKey() != "order:paid" ||
		!strings.Contains(a.GetActionPayload(), `"input":{"sum":9}`) {
		t.Errorf("the task that the event started got %v", a)
	}
	again, err := client.Events.ReplaySingleEvent(transporttest.Context(t), &compat.ReplayEventRequest{EventId: e.GetEventId()})
	if err != nil || again.GetPayload() != `{"sum":9}` {
		t.Error(again, err)
	}
	if a := stream.Next(t); a.GetActionId() != "byevent:byevent" {
		t.Errorf("the event that was pushed again started %v", a)
	}
	_, err = client.Events.BulkPush(transporttest.Context(t), &compat.BulkPushEventRequest{Events: []*compat.PushEventRequest{{Key: "x"}, {Key: "y", Payload: "nonsense"}}})
	wantStatus(t, err, codes.InvalidArgument, "events[1].payload")
}

func TestReplayByIDAndByFilter(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	in := trigger("w", "{}")
	in.AdditionalMetadata = ptr(`{"k":"v"}`)
	run := client.Trigger(t, in)
	stream.Failed(t, stream.Next(t), "boom")
	for attempt, r := range []*compatv1.ReplayTasksRequest{
		{ExternalIds: []string{string(run)}},
		{Filter: &compatv1.TasksFilter{Statuses: []string{"FAILED"}, AdditionalMetadata: []string{"k:v"}}},
	} {
		got, err := client.Admin.ReplayTasks(transporttest.Context(t), r)
		if err != nil || !slices.Equal(got.GetReplayedTasks(), []string{string(run)}) {
			t.Fatal(got, err)
		}
		a := stream.Next(t)
		if int(a.GetRetryCount()) != attempt+1 {
			t.Errorf("replay %d came as attempt %d", attempt, a.GetRetryCount())
		}
		stream.Failed(t, a, "boom")
	}
	_, err := client.Admin.ReplayTasks(transporttest.Context(t), &compatv1.ReplayTasksRequest{})
	wantStatus(t, err, codes.InvalidArgument, "either external_ids or filter")
}

func TestMoreTimeSlotsBackAndLogs(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	w := worker("w:w")
	w.SlotConfig = map[string]int32{"default": 1}
	stream := client.Listen(t, client.Register(t, w))
	client.Trigger(t, trigger("w", "{}"))
	a := stream.Next(t)
	stream.Started(t, a)
	id := a.GetTaskRunExternalId()
	got, err := client.Dispatcher.RefreshTimeout(transporttest.Context(t), &compat.RefreshTimeoutRequest{TaskRunExternalId: id, IncrementTimeoutBy: "1h"})
	if left := got.GetTimeoutAt().AsTime().Sub(time.Unix(0, cluster.View().Wall())); err != nil || left < time.Hour || left > 2*time.Hour {
		t.Error(left, err)
	}
	_, err = client.Dispatcher.RefreshTimeout(transporttest.Context(t), &compat.RefreshTimeoutRequest{TaskRunExternalId: id, IncrementTimeoutBy: "soon"})
	wantStatus(t, err, codes.InvalidArgument, "increment_timeout_by")
	other := client.Trigger(t, trigger("w", "{}"))
	if _, err := client.Dispatcher.ReleaseSlot(transporttest.Context(t), &compat.ReleaseSlotRequest{TaskRunExternalId: id}); err != nil {
		t.Fatal(err)
	}
	if b := stream.Next(t); b.GetWorkflowRunId() != string(other) {
		t.Errorf("the free slot went to %v", b)
	}
	for _, text := range []string{"one", "two"} {
		_, err := client.Events.PutLog(transporttest.Context(t), &compat.PutLogRequest{TaskRunExternalId: id, Message: text, Level: ptr("INFO"), TaskRetryCount: new(int32(0))})
		if err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for l := range cluster.View().Logs(fsm.TaskRunID(id)) {
		lines = append(lines, l.Level+" "+l.Message)
	}
	if diff := cmp.Diff([]string{"INFO one", "INFO two"}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestAChildInheritsItsParentsMetadata(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("p"))
	client.Put(t, oneTask("c"))
	stream := client.Listen(t, client.Register(t, worker("p:p", "c:c")))
	in := trigger("p", "{}")
	in.AdditionalMetadata = ptr(`{"tenant":"x","own":"parent","hatchet__secret":"1"}`)
	client.Trigger(t, in)
	a := stream.Next(t)
	child := trigger("c", "{}")
	child.ParentId, child.ParentTaskRunExternalId = ptr(a.GetWorkflowRunId()), ptr(a.GetTaskRunExternalId())
	child.ChildIndex, child.AdditionalMetadata = new(int32(0)), ptr(`{"own":"child"}`)
	client.Trigger(t, child)
	got := map[string]string{}
	if err := json.Unmarshal([]byte(stream.Next(t).GetAdditionalMetadata()), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"tenant": "x", "own": "child",
		"hatchet__parent_workflow_run_id": a.GetWorkflowRunId(), "hatchet__parent_step_run_id": a.GetTaskRunExternalId(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResultsTooLargeForAMessageAreLeftToHTTPForTypeScript(t *testing.T) {
	const limit = 2000
	cluster := transporttest.New(t, transporttest.Config{MaxMessage: limit})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, dag("w", "a", "b"))
	stream := client.Listen(t, client.Register(t, worker("w:a", "w:b")))
	run := client.Trigger(t, trigger("w", "{}"))
	for range 2 {
		stream.Completed(t, stream.Next(t), `{"text":"`+strings.Repeat("x", 1500)+`"}`)
	}
	sub := subscribe(t, cluster.Nodes[0].Client(t, grpc.WithUserAgent("grpc-node-js/1.14.0")), run)
	if e, err := sub.stream.Recv(); err != nil || len(e.GetResults()) != 0 || e.GetWorkflowRunId() != string(run) {
		t.Errorf("the TypeScript SDK is told %v, %v", e, err)
	}
	errs := 0
	for _, r := range subscribe(t, client, run).next().GetResults() {
		if strings.Contains(r.GetError(), "does not fit into one message") {
			errs++
		}
	}
	if errs != 1 {
		t.Errorf("another SDK is told of %d results that do not fit, want 1", errs)
	}
}
