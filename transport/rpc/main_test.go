package rpc_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneTask is a workflow of one task with the action "<name>:<name>".
func oneTask(name string) *compatv1.CreateWorkflowVersionRequest {
	return &compatv1.CreateWorkflowVersionRequest{
		Name: name, Tasks: []*compatv1.CreateTaskOpts{{ReadableId: name, Action: name + ":" + name, Timeout: "60s"}},
	}
}

// dag is a workflow of tasks written as "c<a,b": c has the parents a and b.
func dag(name string, tasks ...string) *compatv1.CreateWorkflowVersionRequest {
	r := &compatv1.CreateWorkflowVersionRequest{Name: name}
	for _, text := range tasks {
		task, parents, has := strings.Cut(text, "<")
		opts := &compatv1.CreateTaskOpts{ReadableId: task, Action: name + ":" + task, Timeout: "60s"}
		if has {
			opts.Parents = strings.Split(parents, ",")
		}
		r.Tasks = append(r.Tasks, opts)
	}
	return r
}

func worker(actions ...string) *compat.WorkerRegisterRequest {
	return &compat.WorkerRegisterRequest{WorkerName: "worker", Actions: actions, SlotConfig: map[string]int32{"default": 10}}
}

// subscription is a stream of results.
type subscription struct {
	t      testing.TB
	stream compat.Dispatcher_SubscribeToWorkflowRunsClient
}

func subscribe(tb testing.TB, c *transporttest.Client, runs ...fsm.RunID) *subscription {
	tb.Helper()
	stream, err := c.Dispatcher.SubscribeToWorkflowRuns(transporttest.Context(tb))
	if err != nil {
		tb.Fatal(err)
	}
	s := &subscription{tb, stream}
	for _, run := range runs {
		s.ask(run)
	}
	return s
}

func (s *subscription) ask(run fsm.RunID) {
	s.t.Helper()
	if err := s.stream.Send(&compat.SubscribeToWorkflowRunsRequest{WorkflowRunId: string(run)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *subscription) next() *compat.WorkflowRunEvent {
	s.t.Helper()
	e, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal("waiting for a result: ", err)
	}
	if len(e.GetResults()) == 0 {
		s.t.Fatalf("run %s has no results", e.GetWorkflowRunId())
	}
	return e
}

// results gives task name to output, or "!" and the error.
func results(e *compat.WorkflowRunEvent) map[string]string {
	out := map[string]string{}
	for _, r := range e.GetResults() {
		if r.Error != nil {
			out[r.GetTaskName()] = "!" + r.GetError()
		} else {
			out[r.GetTaskName()] = r.GetOutput()
		}
	}
	return out
}

// wantStatus checks the code and a part of the message.
func wantStatus(tb testing.TB, err error, code codes.Code, parts ...string) {
	tb.Helper()
	s := status.Convert(err)
	for _, part := range parts {
		if s.Code() != code || !strings.Contains(s.Message(), part) {
			tb.Errorf("gives %s %q, want %s and %q", s.Code(), s.Message(), code, part)
		}
	}
}

func trigger(name, input string) *compatv1.TriggerWorkflowRequest {
	return &compatv1.TriggerWorkflowRequest{Name: name, Input: input}
}

func ptr(text string) *string { return new(text) }
