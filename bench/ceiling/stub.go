package ceiling

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// Stub answers the calls of one-task runs: a trigger goes to the next worker
// that is attached, and its COMPLETED ends the run. Nothing is checked,
// remembered longer than a run, or decided. Callers of other workloads get
// Unimplemented.
type Stub struct {
	compat.UnimplementedDispatcherServer
	compat.UnimplementedWorkflowServiceServer
	// commit makes bytes durable before a call is answered; nil for none.
	commit func(context.Context, []byte) error

	mu      sync.RWMutex
	workers []*member
	turn    atomic.Uint64
	runs    [shards]shard
}

// shards spread the runs over locks.
const shards = 64

// shard holds runs that have not been answered: who waits for them, or that
// they have ended before anybody asked.
type shard struct {
	mu   sync.Mutex
	runs map[string]*run
}

type run struct {
	ended bool
	by    *outbox[*compat.WorkflowRunEvent]
}

// member is a worker that has registered.
type member struct {
	id  string
	box *outbox[*compat.AssignedAction]
}

// outbox is what waits to be sent down one stream.
type outbox[T any] struct{ c chan T }

func newOutbox[T any]() *outbox[T] {
	const depth = 4096
	return &outbox[T]{make(chan T, depth)}
}

// NewStub makes a stub. Triggers and completions are answered after commit has
// returned, with the bytes of the call.
func NewStub(commit func(context.Context, []byte) error) *Stub {
	s := &Stub{commit: commit}
	for i := range s.runs {
		s.runs[i].runs = map[string]*run{}
	}
	return s
}

// RegisterServices puts the services of the stub into a server.
func (s *Stub) RegisterServices(server grpc.ServiceRegistrar) {
	compat.RegisterDispatcherServer(server, s)
	compat.RegisterWorkflowServiceServer(server, s)
	compatv1.RegisterAdminServiceServer(server, putOnly{})
}

// putOnly serves the administration, whose names meet those of the others.
type putOnly struct {
	compatv1.UnimplementedAdminServiceServer
}

// PutWorkflow takes any definition.
func (putOnly) PutWorkflow(context.Context, *compatv1.CreateWorkflowVersionRequest) (*compatv1.CreateWorkflowVersionResponse, error) {
	return &compatv1.CreateWorkflowVersionResponse{Id: uuid.NewString(), WorkflowId: uuid.NewString()}, nil
}

func (s *Stub) durable(ctx context.Context, m proto.Message) error {
	if s.commit == nil {
		return nil
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if err := s.commit(ctx, raw); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

func (s *Stub) shard(id string) *shard {
	var h uint32
	for i := range len(id) {
		h = h*31 + uint32(id[i])
	}
	return &s.runs[h%shards]
}

// TriggerWorkflow starts a run.
func (s *Stub) TriggerWorkflow(ctx context.Context, r *compatv1.TriggerWorkflowRequest) (*compat.TriggerWorkflowResponse, error) {
	if err := s.durable(ctx, r); err != nil {
		return nil, err
	}
	id, err := s.start(ctx, r)
	if err != nil {
		return nil, err
	}
	return &compat.TriggerWorkflowResponse{WorkflowRunId: id}, nil
}

// BulkTriggerWorkflow starts many.
func (s *Stub) BulkTriggerWorkflow(ctx context.Context, r *compat.BulkTriggerWorkflowRequest) (*compat.BulkTriggerWorkflowResponse, error) {
	if err := s.durable(ctx, r); err != nil {
		return nil, err
	}
	out := &compat.BulkTriggerWorkflowResponse{}
	for _, one := range r.GetWorkflows() {
		id, err := s.start(ctx, one)
		if err != nil {
			return nil, err
		}
		out.WorkflowRunIds = append(out.WorkflowRunIds, id)
	}
	return out, nil
}

func (s *Stub) start(ctx context.Context, r *compatv1.TriggerWorkflowRequest) (string, error) {
	id := uuid.NewString()
	sh := s.shard(id)
	sh.mu.Lock()
	sh.runs[id] = &run{}
	sh.mu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.workers) == 0 {
		return "", status.Error(codes.FailedPrecondition, "no worker is attached")
	}
	a := &compat.AssignedAction{
		WorkflowRunId: id, TaskRunExternalId: id, JobId: id, JobRunId: id, TaskId: id, JobName: "task", TaskName: "task",
		ActionId: r.GetName() + ":task", ActionPayload: `{"input":` + r.GetInput() + `,"parents":{}}`,
	}
	select {
	case s.workers[s.turn.Add(1)%uint64(len(s.workers))].box.c <- a:
		return id, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Register takes any worker. Runs wait for its stream from now on.
func (s *Stub) Register(context.Context, *compat.WorkerRegisterRequest) (*compat.WorkerRegisterResponse, error) {
	w := &member{uuid.NewString(), newOutbox[*compat.AssignedAction]()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
	return &compat.WorkerRegisterResponse{WorkerId: w.id}, nil
}

// ListenV2 sends a worker its share of the runs.
func (s *Stub) ListenV2(r *compat.WorkerListenRequest, stream grpc.ServerStreamingServer[compat.AssignedAction]) error {
	s.mu.RLock()
	i := slices.IndexFunc(s.workers, func(w *member) bool { return w.id == r.GetWorkerId() })
	if i < 0 {
		s.mu.RUnlock()
		return status.Errorf(codes.NotFound, "worker_id is %q: must be one that Register gave", r.GetWorkerId())
	}
	w := s.workers[i]
	s.mu.RUnlock()
	defer s.remove(w.id)
	return w.box.sendTo(stream.Context(), stream.Send)
}

func (s *Stub) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = slices.DeleteFunc(slices.Clone(s.workers), func(w *member) bool { return w.id == id })
}

// sendTo sends until the stream ends.
func (b *outbox[T]) sendTo(ctx context.Context, send func(T) error) error {
	for {
		select {
		case <-ctx.Done():
			return status.Error(codes.Unavailable, "the stream has ended")
		case m := <-b.c:
			if err := send(m); err != nil {
				return err
			}
		}
	}
}

// SendStepActionEvent takes a report; COMPLETED ends the run.
func (s *Stub) SendStepActionEvent(ctx context.Context, r *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
	if r.GetEventType() == compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED {
		if err := s.durable(ctx, r); err != nil {
			return nil, err
		}
		if err := s.end(ctx, r.GetTaskRunExternalId()); err != nil {
			return nil, err
		}
	}
	return &compat.ActionEventResponse{WorkerId: r.GetWorkerId()}, nil
}

func (s *Stub) end(ctx context.Context, id string) error {
	sh := s.shard(id)
	sh.mu.Lock()
	run := sh.runs[id]
	var by *outbox[*compat.WorkflowRunEvent]
	if run != nil {
		run.ended = true
		if by = run.by; by != nil {
			delete(sh.runs, id)
		}
	}
	sh.mu.Unlock()
	return by.push(ctx, finished(id))
}

// SubscribeToWorkflowRuns answers for each id when its run has ended.
func (s *Stub) SubscribeToWorkflowRuns(stream grpc.BidiStreamingServer[compat.SubscribeToWorkflowRunsRequest, compat.WorkflowRunEvent]) error {
	box, ctx := newOutbox[*compat.WorkflowRunEvent](), stream.Context()
	asked := make(chan error, 1)
	go func() { asked <- s.subscribe(stream, box) }()
	sent := make(chan error, 1)
	go func() { sent <- box.sendTo(ctx, stream.Send) }()
	select {
	case err := <-asked:
		if !errors.Is(err, io.EOF) {
			return err
		}
		return <-sent
	case err := <-sent:
		return err
	}
}

func (s *Stub) subscribe(stream grpc.BidiStreamingServer[compat.SubscribeToWorkflowRunsRequest, compat.WorkflowRunEvent], box *outbox[*compat.WorkflowRunEvent]) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		id := r.GetWorkflowRunId()
		sh := s.shard(id)
		sh.mu.Lock()
		run := sh.runs[id]
		ended := run == nil || run.ended
		if ended {
			delete(sh.runs, id)
		} else {
			run.by = box
		}
		sh.mu.Unlock()
		if ended {
			if err := box.push(stream.Context(), finished(id)); err != nil {
				return err
			}
		}
	}
}

// push puts a message into an outbox, if there is one.
func (b *outbox[T]) push(ctx context.Context, m T) error {
	if b == nil {
		return nil
	}
	select {
	case b.c <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Heartbeat takes any.
func (s *Stub) Heartbeat(context.Context, *compat.HeartbeatRequest) (*compat.HeartbeatResponse, error) {
	return &compat.HeartbeatResponse{}, nil
}

// Unsubscribe lets a worker go.
func (s *Stub) Unsubscribe(_ context.Context, r *compat.WorkerUnsubscribeRequest) (*compat.WorkerUnsubscribeResponse, error) {
	s.remove(r.GetWorkerId())
	return &compat.WorkerUnsubscribeResponse{WorkerId: r.GetWorkerId()}, nil
}

func finished(id string) *compat.WorkflowRunEvent {
	output := `{"task":` + strconv.Quote(`{"ok":true}`) + `}`
	return &compat.WorkflowRunEvent{WorkflowRunId: id, Results: []*compat.StepRunResult{{TaskRunExternalId: id, TaskName: "task", JobRunId: id, Output: &output}}}
}
