package agent

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
	"github.com/limpet-dev/limpet/client/internal/nodetest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// bed is an agent's local end between two nodes and a program.
type bed struct {
	proxy *proxy
	nodes [2]*nodetest.Node
	// program is the SDK of the program.
	program compat.DispatcherClient
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{nodes: [2]*nodetest.Node{nodetest.Start(t), nodetest.Start(t)}}
	set, err := nodes.New([]string{b.nodes[0].Addr, b.nodes[1].Addr}, dialOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	// Sets begin anywhere; tests begin at the first.
	for c, err := set.Get(); c.Addr != b.nodes[0].Addr; c, err = set.Get() {
		if err != nil {
			t.Fatal(err)
		}
		set.Failed(c)
	}
	place, err := openPlace(t.TempDir(), "gpu-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = place.close() })
	b.proxy = newProxy(set, place, func() string { return "member-1" }, quiet())
	b.proxy.begin("incarnation-1", "generation-1")
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, done := b.proxy.server(), make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("sdk/1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	b.program = compat.NewDispatcherClient(conn)
	return b
}

func (b *bed) register(t *testing.T) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "bearer t")
	if _, err := b.program.Register(ctx, &compat.WorkerRegisterRequest{WorkerName: "w", Actions: []string{"a:b"}}); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) listen(t *testing.T) compat.Dispatcher_ListenV2Client {
	t.Helper()
	s, err := b.program.ListenV2(t.Context(), &compat.WorkerListenRequest{WorkerId: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startOrder(run string, attempt int32) *compat.AssignedAction {
	return &compat.AssignedAction{ActionType: compat.ActionType_START_STEP_RUN, TaskRunExternalId: run, RetryCount: attempt}
}

func TestARegistrationSaysWhereTheWorkerIs(t *testing.T) {
	b := newBed(t)
	b.register(t)
	c := b.nodes[0].Next(t, "Register")
	labels := c.Request.(*compat.WorkerRegisterRequest).GetLabels() //nolint:forcetypeassert // what Register gets
	for k, want := range map[string]string{limpetv1.LabelIdentity: "gpu-1/w", limpetv1.LabelGeneration: "generation-1"} {
		if got := labels[k].GetStrValue(); got != want {
			t.Errorf("label %s is %q, want %q", k, got, want)
		}
	}
	for k, want := range map[string]string{
		limpetv1.HeaderIncarnation: "incarnation-1", limpetv1.HeaderMember: "member-1", "authorization": "bearer t",
	} {
		if got := c.Header.Get(k); len(got) != 1 || got[0] != want {
			t.Errorf("header %s is %q, want %q", k, got, want)
		}
	}
	if got := c.Header.Get(limpetv1.HeaderUserAgent); len(got) != 1 || got[0][:5] != "sdk/1" {
		t.Errorf("the program's user agent is told as %q", got)
	}
	b.register(t)
	again := b.nodes[0].Next(t, "Register").Request.(*compat.WorkerRegisterRequest) //nolint:forcetypeassert // what Register gets
	if got := again.GetLabels()[limpetv1.LabelIdentity].GetStrValue(); got != "gpu-1/w#2" {
		t.Errorf("a second worker of that name in one process is %q", got)
	}
	b.proxy.begin("incarnation-2", "generation-1")
	b.register(t)
	again = b.nodes[0].Next(t, "Register").Request.(*compat.WorkerRegisterRequest) //nolint:forcetypeassert // what Register gets
	if got := again.GetLabels()[limpetv1.LabelIdentity].GetStrValue(); got != "gpu-1/w" {
		t.Errorf("after a restart the worker is %q", got)
	}
}

func TestACallIsRepeatedElsewhereWithOneRequestID(t *testing.T) {
	b := newBed(t)
	b.nodes[0].Fail("SendStepActionEvent", nodetest.Down())
	b.nodes[1].Fail("SendStepActionEvent", nodetest.Down(), nodetest.Down())
	if _, err := b.program.SendStepActionEvent(t.Context(), &compat.StepActionEvent{WorkerId: "w"}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range b.nodes {
		for len(n.Calls) > 0 {
			seen[n.Next(t, "SendStepActionEvent").Header.Get(limpetv1.HeaderRequestID)[0]] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("the tries had the request ids %v", seen)
	}
}

func TestANoIsPassedOnAtOnce(t *testing.T) {
	b := newBed(t)
	b.nodes[0].Fail("SendStepActionEvent", status.Error(codes.InvalidArgument, "no such task"))
	_, err := b.program.SendStepActionEvent(t.Context(), &compat.StepActionEvent{})
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "no such task" || len(b.nodes[1].Calls) != 0 {
		t.Errorf("gives %v, and %d calls at the other node", err, len(b.nodes[1].Calls))
	}
}

func TestAStreamGoesOnAtAnotherNodeAndRepeatsNothing(t *testing.T) {
	b := newBed(t)
	b.register(t)
	s := b.listen(t)
	first := b.nodes[0].Stream(t)
	if got := first.Header.Get(limpetv1.HeaderIncarnation); len(got) != 1 || got[0] != "incarnation-1" {
		t.Errorf("the stream is opened as %q", got)
	}
	first.Send(startOrder("r1", 0))
	if a, err := s.Recv(); err != nil || a.GetTaskRunExternalId() != "r1" {
		t.Fatal(a, err)
	}
	first.End(nodetest.Down())
	second := b.nodes[1].Stream(t)
	// A node sends what the worker has not answered again when it attaches.
	second.Send(startOrder("r1", 0))
	second.Send(startOrder("r1", 1))
	second.Send(startOrder("r2", 0))
	for _, want := range []string{"r1", "r2"} {
		a, err := s.Recv()
		if err != nil || a.GetTaskRunExternalId() != want || (want == "r1" && a.GetRetryCount() != 1) {
			t.Fatalf("got %v, %v; want %s", a, err, want)
		}
	}
	b.nodes[1].Stop()
	third := b.nodes[0].Stream(t)
	third.End(status.Error(codes.FailedPrecondition, "a newer start took the place"))
	if _, err := s.Recv(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a worker that may not go on is told %v", err)
	}
}

func TestOnlyTheNewestStreamOfAWorkerLives(t *testing.T) {
	b := newBed(t)
	b.register(t)
	s := b.listen(t)
	first := b.nodes[0].Stream(t)
	b.listen(t)
	first.Gone(t)
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the older stream ends with %v", err)
	}
	b.nodes[0].Stream(t)
	b.proxy.begin("incarnation-2", "generation-1")
	if _, workers := b.proxy.present(); len(workers) != 0 {
		t.Errorf("a new start has the workers %v", workers)
	}
}

// The agent had told that the program ended, and opened its stream at another node
// before it saw the program's connection close: a worker without a program was live.
func TestTheStreamOfAProgramThatHasEndedIsNotOpenedAgain(t *testing.T) {
	b := newBed(t)
	b.register(t)
	s := b.listen(t)
	first := b.nodes[0].Stream(t)
	b.proxy.end()
	first.Gone(t)
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	if _, err := b.listen(t).Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of a program that has ended ends with %v", err)
	}
	if len(b.nodes[0].Streams)+len(b.nodes[1].Streams) > 0 {
		t.Error("a stream was opened at a node")
	}
	b.proxy.begin("incarnation-2", "generation-1")
	b.register(t)
	b.listen(t)
	if got := b.nodes[0].Stream(t).Header.Get(limpetv1.HeaderIncarnation); len(got) != 1 || got[0] != "incarnation-2" {
		t.Errorf("the next program's stream is opened as %q", got)
	}
}

func TestAHeartbeatIsAnsweredThoughNoNodeIs(t *testing.T) {
	b := newBed(t)
	b.nodes[0].Stop()
	b.nodes[1].Stop()
	began := time.Now()
	if _, err := b.program.Heartbeat(t.Context(), &compat.HeartbeatRequest{WorkerId: "w"}); err != nil {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestAWorkerThatSaidGoodbyeIsNotBroughtBack(t *testing.T) {
	b := newBed(t)
	b.register(t)
	s := b.listen(t)
	stream := b.nodes[0].Stream(t)
	if _, workers := b.proxy.present(); len(workers) != 1 {
		t.Errorf("the workers are %v", workers)
	}
	if _, err := b.program.Unsubscribe(t.Context(), &compat.WorkerUnsubscribeRequest{WorkerId: "w"}); err != nil {
		t.Fatal(err)
	}
	if _, workers := b.proxy.present(); len(workers) != 0 {
		t.Errorf("after its goodbye the workers are %v", workers)
	}
	stream.End(nodetest.Down())
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("its stream ends with %v", err)
	}
	if len(b.nodes[1].Streams) != 0 {
		t.Error("a stream was opened for it at another node")
	}
}

func TestResultsComeThoughTheNodeDies(t *testing.T) {
	b := newBed(t)
	s, err := b.program.SubscribeToWorkflowRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"r1", "r2"} {
		if err := s.Send(&compat.SubscribeToWorkflowRunsRequest{WorkflowRunId: id}); err != nil {
			t.Fatal(err)
		}
	}
	b.nodes[0].Finish(t, &compat.WorkflowRunEvent{WorkflowRunId: "r1"})
	if e, err := s.Recv(); err != nil || e.GetWorkflowRunId() != "r1" {
		t.Fatal(e, err)
	}
	b.nodes[0].Stop()
	b.nodes[1].Finish(t, &compat.WorkflowRunEvent{WorkflowRunId: "r2"})
	if e, err := s.Recv(); err != nil || e.GetWorkflowRunId() != "r2" {
		t.Fatal(e, err)
	}
}
