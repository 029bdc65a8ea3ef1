package rpc_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

const (
	noSuchID = "0190d3a4-0000-7000-8000-00000000000a"
	limit    = 64 << 10
)

func TestEveryBadCallIsRefusedWithItsReason(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{MaxMessage: limit})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	sticky := oneTask("s")
	sticky.Sticky = compatv1.StickyStrategy_HARD.Enum()
	client.Put(t, sticky)
	put := func(r *compatv1.CreateWorkflowVersionRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := client.Admin.PutWorkflow(ctx, r); return err }
	}
	start := func(change func(*compatv1.TriggerWorkflowRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			r := trigger("w", "{}")
			change(r)
			_, err := client.Workflows.TriggerWorkflow(ctx, r)
			return err
		}
	}
	event := func(id string, kind compat.StepActionEventType) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.Dispatcher.SendStepActionEvent(ctx, &compat.StepActionEvent{TaskRunExternalId: id, EventType: kind, EventPayload: "{}"})
			return err
		}
	}
	listen := func(id string) func(context.Context) error {
		return func(ctx context.Context) error {
			stream, err := client.Dispatcher.ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: id})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}
	}
	for _, c := range []struct {
		name string
		call func(context.Context) error
		code codes.Code
		part string
	}{
		{"unknown workflow", start(func(r *compatv1.TriggerWorkflowRequest) { r.Name = "nowhere" }), codes.NotFound, `name "nowhere"`},
		{"no workflow", start(func(r *compatv1.TriggerWorkflowRequest) { r.Name = "" }), codes.InvalidArgument, "name"},
		{"bad priority", start(func(r *compatv1.TriggerWorkflowRequest) { r.Priority = proto.Int32(7) }), codes.InvalidArgument, "priority must be between 1 and 3, got 7"},
		{"bad input", start(func(r *compatv1.TriggerWorkflowRequest) { r.Input = `{"a":` }), codes.InvalidArgument, `input "{\"a\":": must be valid JSON`},
		{"bad metadata", start(func(r *compatv1.TriggerWorkflowRequest) { r.AdditionalMetadata = ptr("[1]") }), codes.InvalidArgument, "must be a JSON object"},
		{"bad desired worker", start(func(r *compatv1.TriggerWorkflowRequest) { r.DesiredWorkerId = ptr("x") }), codes.InvalidArgument, `desired_worker_id "x": must be a valid UUID`},
		{"bad parent", start(func(r *compatv1.TriggerWorkflowRequest) { r.ParentTaskRunExternalId = ptr("x") }), codes.InvalidArgument, `parent_task_run_external_id "x"`},
		{"unknown desired worker", start(func(r *compatv1.TriggerWorkflowRequest) { r.Name, r.DesiredWorkerId = "s", ptr(noSuchID) }), codes.InvalidArgument, noSuchID},
		{"large input", start(func(r *compatv1.TriggerWorkflowRequest) { r.Input = `"` + strings.Repeat("x", limit-1) + `"` }), codes.InvalidArgument, "the limit is 65536 bytes"},
		{"very large input", start(func(r *compatv1.TriggerWorkflowRequest) { r.Input = `"` + strings.Repeat("x", 8*limit) + `"` }), codes.ResourceExhausted, "larger than max"},
		{"bulk", func(ctx context.Context) error {
			_, err := client.Workflows.BulkTriggerWorkflow(ctx, &compat.BulkTriggerWorkflowRequest{
				Workflows: []*compatv1.TriggerWorkflowRequest{trigger("w", "{}"), trigger("w", "x")},
			})
			return err
		}, codes.InvalidArgument, `workflows[1].input "x"`},
		{"cycle", put(dag("loop", "a<b", "b<a")), codes.InvalidArgument, "the parents form a cycle"},
		{"unknown parent", put(dag("lost", "a<z")), codes.InvalidArgument, "z"},
		{"task twice", put(dag("twice", "a", "a")), codes.InvalidArgument, "a"},
		{"no tasks", put(dag("none")), codes.InvalidArgument, "must have at least one task"},
		{"unknown worker listens", listen(noSuchID), codes.NotFound, noSuchID},
		{"bad worker listens", listen("x"), codes.InvalidArgument, `worker_id "x"`},
		{"unknown worker's heartbeat", func(ctx context.Context) error {
			_, err := client.Dispatcher.Heartbeat(ctx, &compat.HeartbeatRequest{WorkerId: noSuchID})
			return err
		}, codes.NotFound, noSuchID},
		{"unknown worker's labels", func(ctx context.Context) error {
			_, err := client.Dispatcher.UpsertWorkerLabels(ctx, &compat.UpsertWorkerLabelsRequest{WorkerId: noSuchID})
			return err
		}, codes.NotFound, noSuchID},
		{"bad task run", event("x", compat.StepActionEventType_STEP_EVENT_TYPE_STARTED), codes.InvalidArgument, `task_run_external_id "x"`},
		{"unknown task run", event(noSuchID, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED), codes.InvalidArgument, "invalid task external run id"},
		{"no event type", event(noSuchID, compat.StepActionEventType_STEP_EVENT_TYPE_UNKNOWN), codes.InvalidArgument, "event_type"},
		{"unknown run", func(ctx context.Context) error {
			_, err := client.Admin.GetRunDetails(ctx, &compatv1.GetRunDetailsRequest{ExternalId: noSuchID})
			return err
		}, codes.NotFound, "workflow run not found"},
		{"cancel nothing", func(ctx context.Context) error {
			_, err := client.Admin.CancelTasks(ctx, &compatv1.CancelTasksRequest{})
			return err
		}, codes.InvalidArgument, "either external_ids or filter"},
		{"bad filter", func(ctx context.Context) error {
			_, err := client.Admin.CancelTasks(ctx, &compatv1.CancelTasksRequest{Filter: &compatv1.TasksFilter{Statuses: []string{"LOST"}}})
			return err
		}, codes.InvalidArgument, `filter.statuses[0] "LOST"`},
		{"a method that is not served", func(ctx context.Context) error {
			_, err := client.Workflows.PutRateLimit(ctx, &compat.PutRateLimitRequest{Key: "k"})
			return err
		}, codes.Unimplemented, "method /WorkflowService/PutRateLimit is not served by this version of limpet yet"},
		{"a stream that is not served", func(ctx context.Context) error {
			stream, err := client.Durable.DurableTask(ctx)
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.Unimplemented, "method /v1.V1Dispatcher/DurableTask is not served"},
		{"an unknown method", func(ctx context.Context) error {
			return client.Conn.Invoke(ctx, "/Dispatcher/Dance", &compat.GetVersionRequest{}, &compat.GetVersionResponse{})
		}, codes.Unimplemented, "method /Dispatcher/Dance is not served"},
		{"an operator's method", func(ctx context.Context) error {
			return client.Conn.Invoke(ctx, "/limpet.v1.Admin/Status", &compat.GetVersionRequest{}, &compat.GetVersionResponse{})
		}, codes.PermissionDenied, "needs admin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantStatus(t, c.call(transporttest.Context(t)), c.code, c.part)
		})
	}
}

func TestATokenIsAskedForByStreamsAndCalls(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := compat.NewDispatcherClient(node.Dial(t, ""))
	for _, c := range []struct{ name, header, part string }{
		{"none", "", "missing token"},
		{"no scheme", "x", "malformed authorization"},
		{"not a JWT", "bearer x.y", "malformed token: 2 parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := transporttest.Context(t)
			if c.header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.header)
			}
			_, err := client.GetVersion(ctx, &compat.GetVersionRequest{})
			wantStatus(t, err, codes.Unauthenticated, c.part)
			stream, err := client.ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: noSuchID})
			if err == nil {
				_, err = stream.Recv()
			}
			wantStatus(t, err, codes.Unauthenticated, c.part)
		})
	}
	if n := node.Counters.Calls(); len(n) == 0 {
		t.Error("the calls were not counted")
	}
}

func TestATaskTooLargeForItsWorkerFails(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{MaxMessage: limit})
	client := cluster.Nodes[0].Client(t, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)))
	client.Put(t, dag("big", "a", "b", "c<a,b"))
	stream := client.Listen(t, client.Register(t, worker("big:a", "big:b", "big:c")))
	s := subscribe(t, client, client.Trigger(t, trigger("big", "{}")))
	for range 2 {
		stream.Completed(t, stream.Next(t), `"`+strings.Repeat("x", limit*3/4)+`"`)
	}
	if got := results(s.next())["c"]; !strings.Contains(got, "!the task cannot be delivered") || !strings.Contains(got, "the limit is 65536 bytes") {
		t.Errorf("the task gives %.200q", got)
	}
}
