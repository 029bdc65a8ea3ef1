// Package nodetest is a node as clients see it, for their tests: it answers what
// the test tells it to.
package nodetest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// patience is for what happens at once unless something is wrong.
const patience = 30 * time.Second

// Call is a unary call that a node got.
type Call struct {
	Method  string
	Request any
	Header  metadata.MD
}

// Node answers on a port of its own.
type Node struct {
	compat.UnimplementedDispatcherServer
	compatv1.UnimplementedAdminServiceServer
	limpetv1.UnimplementedMemberServer

	Addr string
	// Calls are all unary calls, in order.
	Calls chan Call
	// Streams are the assignment streams that were opened.
	Streams chan *Stream

	server *grpc.Server
	mu     sync.Mutex
	errs   map[string][]error
	waits  chan compat.Dispatcher_SubscribeToWorkflowRunsServer
}

// Stream is an assignment stream.
type Stream struct {
	Request *compat.WorkerListenRequest
	Header  metadata.MD

	out chan *compat.AssignedAction
	end chan error
	ctx context.Context //nolint:containedctx // the stream's own
}

// Start makes a node.
func Start(tb testing.TB) *Node {
	tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	const many = 1000
	n := &Node{
		Addr: ln.Addr().String(), Calls: make(chan Call, many), Streams: make(chan *Stream, many), errs: map[string][]error{},
		waits: make(chan compat.Dispatcher_SubscribeToWorkflowRunsServer, many),
	}
	n.server = grpc.NewServer(grpc.UnaryInterceptor(n.unary))
	compat.RegisterDispatcherServer(n.server, n)
	compat.RegisterWorkflowServiceServer(n.server, starter{})
	compatv1.RegisterAdminServiceServer(n.server, n)
	limpetv1.RegisterMemberServer(n.server, n)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.server.Serve(ln)
	}()
	tb.Cleanup(func() {
		n.Stop()
		<-done
	})
	return n
}

// Stop breaks all connections.
func (n *Node) Stop() { n.server.Stop() }

// Fail makes the next calls of a method end with these errors, one each. The
// method is the name without its service.
func (n *Node) Fail(method string, errs ...error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errs[method] = append(n.errs[method], errs...)
}

// Down is what a node without a leader says.
func Down() error { return status.Error(codes.Unavailable, "no leader") }

func (n *Node) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	name := info.FullMethod
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	n.Calls <- Call{name, request, md}
	n.mu.Lock()
	var err error
	if list := n.errs[name]; len(list) > 0 {
		err, n.errs[name] = list[0], list[1:]
	}
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// Next gives the next call of a method, and drops those before it.
func (n *Node) Next(tb testing.TB, method string) Call {
	tb.Helper()
	limit := time.After(patience)
	for {
		select {
		case c := <-n.Calls:
			if c.Method == method {
				return c
			}
		case <-limit:
			tb.Fatalf("nobody called %s at node %s", method, n.Addr)
		}
	}
}

// Stream gives the next assignment stream.
func (n *Node) Stream(tb testing.TB) *Stream {
	tb.Helper()
	select {
	case s := <-n.Streams:
		return s
	case <-time.After(patience):
		tb.Fatalf("nobody listens at node %s", n.Addr)
		return nil
	}
}

// Send gives the worker an order.
func (s *Stream) Send(a *compat.AssignedAction) { s.out <- a }

// End ends the stream.
func (s *Stream) End(err error) { s.end <- err }

// Gone waits until the worker has left the stream.
func (s *Stream) Gone(tb testing.TB) {
	tb.Helper()
	select {
	case <-s.ctx.Done():
	case <-time.After(patience):
		tb.Fatal("the stream is still open")
	}
}

// Register implements the Dispatcher: the id is the worker's name.
func (n *Node) Register(_ context.Context, r *compat.WorkerRegisterRequest) (*compat.WorkerRegisterResponse, error) {
	return &compat.WorkerRegisterResponse{TenantId: "tenant", WorkerId: r.GetWorkerName(), WorkerName: r.GetWorkerName()}, nil
}

// ListenV2 implements the Dispatcher.
func (n *Node) ListenV2(r *compat.WorkerListenRequest, out compat.Dispatcher_ListenV2Server) error {
	md, _ := metadata.FromIncomingContext(out.Context())
	const many = 100
	s := &Stream{Request: r, Header: md, out: make(chan *compat.AssignedAction, many), end: make(chan error, 1), ctx: out.Context()}
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	n.Streams <- s
	for {
		select {
		case a := <-s.out:
			if err := out.Send(a); err != nil {
				return err
			}
		case err := <-s.end:
			return err
		case <-out.Context().Done():
			return nil
		}
	}
}

// Heartbeat implements the Dispatcher.
func (n *Node) Heartbeat(context.Context, *compat.HeartbeatRequest) (*compat.HeartbeatResponse, error) {
	return &compat.HeartbeatResponse{}, nil
}

// Unsubscribe implements the Dispatcher.
func (n *Node) Unsubscribe(context.Context, *compat.WorkerUnsubscribeRequest) (*compat.WorkerUnsubscribeResponse, error) {
	return &compat.WorkerUnsubscribeResponse{}, nil
}

// SendStepActionEvent implements the Dispatcher.
func (n *Node) SendStepActionEvent(context.Context, *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
	return &compat.ActionEventResponse{}, nil
}

// PutWorkflow implements the AdminService.
func (n *Node) PutWorkflow(context.Context, *compatv1.CreateWorkflowVersionRequest) (*compatv1.CreateWorkflowVersionResponse, error) {
	return &compatv1.CreateWorkflowVersionResponse{Id: "version", WorkflowId: "workflow"}, nil
}

type starter struct {
	compat.UnimplementedWorkflowServiceServer
}

// TriggerWorkflow implements the WorkflowService.
func (starter) TriggerWorkflow(context.Context, *compatv1.TriggerWorkflowRequest) (*compat.TriggerWorkflowResponse, error) {
	return &compat.TriggerWorkflowResponse{WorkflowRunId: "run"}, nil
}

// SubscribeToWorkflowRuns implements the Dispatcher: it keeps what is asked for
// until [Node.Finish].
func (n *Node) SubscribeToWorkflowRuns(s compat.Dispatcher_SubscribeToWorkflowRunsServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil //nolint:nilerr // the other side has left
		}
		n.waits <- s
	}
}

// Finish tells whoever asks next that a run has ended.
func (n *Node) Finish(tb testing.TB, e *compat.WorkflowRunEvent) {
	tb.Helper()
	select {
	case s := <-n.waits:
		if err := s.Send(e); err != nil {
			tb.Fatal(err)
		}
	case <-time.After(patience):
		tb.Fatalf("nobody waits for a result at node %s", n.Addr)
	}
}

// DrainWorker implements the Member service: the worker has nothing left.
func (n *Node) DrainWorker(context.Context, *limpetv1.DrainWorkerRequest) (*limpetv1.DrainWorkerResponse, error) {
	return &limpetv1.DrainWorkerResponse{Drain: &limpetv1.DrainInfo{Drained: true}}, nil
}

// ReportExit implements the Member service.
func (n *Node) ReportExit(context.Context, *limpetv1.ReportExitRequest) (*limpetv1.ReportExitResponse, error) {
	return &limpetv1.ReportExitResponse{}, nil
}

// GetNodes implements the Member service: there is no gossip.
func (n *Node) GetNodes(context.Context, *limpetv1.GetNodesRequest) (*limpetv1.GetNodesResponse, error) {
	return &limpetv1.GetNodesResponse{}, nil
}
