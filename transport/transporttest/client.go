package transporttest

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
)

// Client speaks the SDKs' wire to one node.
type Client struct {
	Dispatcher compat.DispatcherClient
	Workflows  compat.WorkflowServiceClient
	Events     compat.EventsServiceClient
	Admin      compatv1.AdminServiceClient
	Durable    compatv1.V1DispatcherClient
	Conn       *grpc.ClientConn
}

// Client connects with an SDK's token.
func (n *Node) Client(tb testing.TB, opts ...grpc.DialOption) *Client {
	tb.Helper()
	conn := n.Dial(tb, n.Token(tb, auth.RoleSDK), opts...)
	return &Client{
		Dispatcher: compat.NewDispatcherClient(conn), Workflows: compat.NewWorkflowServiceClient(conn),
		Events: compat.NewEventsServiceClient(conn), Admin: compatv1.NewAdminServiceClient(conn),
		Durable: compatv1.NewV1DispatcherClient(conn), Conn: conn,
	}
}

// Context gives a context for one exchange, which ends after [Patience].
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	tb.Cleanup(cancel)
	return ctx
}

// Register registers a worker and gives its id.
func (c *Client) Register(tb testing.TB, r *compat.WorkerRegisterRequest) fsm.WorkerID {
	tb.Helper()
	if r.GetWorkerName() == "" {
		r.WorkerName = "worker"
	}
	resp, err := c.Dispatcher.Register(Context(tb), r)
	if err != nil {
		tb.Fatal(err)
	}
	return fsm.WorkerID(resp.GetWorkerId())
}

// Put registers a workflow.
func (c *Client) Put(tb testing.TB, r *compatv1.CreateWorkflowVersionRequest) {
	tb.Helper()
	if _, err := c.Admin.PutWorkflow(Context(tb), r); err != nil {
		tb.Fatal(err)
	}
}

// Trigger starts a run and gives its id.
func (c *Client) Trigger(tb testing.TB, r *compatv1.TriggerWorkflowRequest) fsm.RunID {
	tb.Helper()
	resp, err := c.Workflows.TriggerWorkflow(Context(tb), r)
	if err != nil {
		tb.Fatal(err)
	}
	return fsm.RunID(resp.GetWorkflowRunId())
}

// Stream is a worker's open assignment stream.
type Stream struct {
	stream grpc.ServerStreamingClient[compat.AssignedAction]
	client *Client
	worker fsm.WorkerID
	cancel context.CancelFunc
}

// Listen opens a worker's stream and returns once the cluster knows of it.
func (c *Client) Listen(tb testing.TB, worker fsm.WorkerID) *Stream {
	tb.Helper()
	ctx, cancel := context.WithCancel(Context(tb))
	stream, err := c.Dispatcher.ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: string(worker)})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	return &Stream{stream: stream, client: c, worker: worker, cancel: cancel}
}

// Close breaks the stream.
func (s *Stream) Close() { s.cancel() }

// Next gives the next order.
func (s *Stream) Next(tb testing.TB) *compat.AssignedAction {
	tb.Helper()
	a, err := s.stream.Recv()
	if err != nil {
		tb.Fatal("waiting for an order: ", err)
	}
	return a
}

// End waits for the end of the stream, over orders that still come.
func (s *Stream) End() error {
	for {
		if _, err := s.stream.Recv(); err != nil {
			return err
		}
	}
}

// Report reports on an attempt as an SDK does.
func (s *Stream) Report(tb testing.TB, a *compat.AssignedAction, kind compat.StepActionEventType, payload string) {
	tb.Helper()
	_, err := s.client.Dispatcher.SendStepActionEvent(Context(tb), &compat.StepActionEvent{
		WorkerId: string(s.worker), JobId: a.GetJobId(), JobRunId: a.GetJobRunId(), TaskId: a.GetTaskId(),
		TaskRunExternalId: a.GetTaskRunExternalId(), ActionId: a.GetActionId(), EventType: kind, EventPayload: payload,
		RetryCount: new(a.GetRetryCount()),
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Started reports that an attempt has started.
func (s *Stream) Started(tb testing.TB, a *compat.AssignedAction) {
	tb.Helper()
	s.Report(tb, a, compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, "")
}

// Completed reports an output.
func (s *Stream) Completed(tb testing.TB, a *compat.AssignedAction, output string) {
	tb.Helper()
	s.Report(tb, a, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, output)
}

// Failed reports an error.
func (s *Stream) Failed(tb testing.TB, a *compat.AssignedAction, text string) {
	tb.Helper()
	s.Report(tb, a, compat.StepActionEventType_STEP_EVENT_TYPE_FAILED, text)
}
