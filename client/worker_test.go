package limpet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/client/internal/nodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// token has the form of one; the nodes of these tests do not verify it.
const token = "e30.eyJzdWIiOiJ0ZW5hbnQiLCJzZXJ2ZXJfdXJsIjoiaHR0cDovLzEyNy4wLjAuMToxIiwiZ3JwY19icm9hZGNhc3RfYWRkcmVzcyI6IjEyNy4wLjAuMToxIn0.c2ln"

type in struct{ N int }

type out struct {
	N      int
	Worker string
}

// bed is a client of two nodes. Calls begin at either.
type bed struct {
	nodes  [2]*nodetest.Node
	client *limpet.Client
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{nodes: [2]*nodetest.Node{nodetest.Start(t), nodetest.Start(t)}}
	var err error
	b.client, err = limpet.New(limpet.WithToken(token), limpet.WithEndpoints(b.nodes[0].Addr), limpet.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.client.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs a worker beside the test; the function stops it and gives its error.
func (b *bed) run(t *testing.T, opts ...limpet.WorkerOption) (stop func() error) {
	t.Helper()
	w, err := limpet.NewWorker(b.client, "w", append(opts, limpet.WithoutGossip())...)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	var end error
	stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			end = <-ended
		}
		return end
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func order(action string, attempt int32) *compat.AssignedAction {
	_, task, _ := strings.Cut(action, ":")
	return &compat.AssignedAction{
		ActionType: compat.ActionType_START_STEP_RUN, ActionId: action, TaskName: task, ActionPayload: `{"input":{"N":20}}`,
		TaskRunExternalId: "task-run", WorkflowRunId: "the-run", RetryCount: attempt,
	}
}

// reports gives the reports on a short task: of its start and of its end, which may
// come in any order.
func reports(t *testing.T, n *nodetest.Node) (start, end *compat.StepActionEvent) {
	t.Helper()
	start, end = report(t, n), report(t, n)
	if start.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_STARTED {
		start, end = end, start
	}
	return start, end
}

// report gives the next report of an attempt.
func report(t *testing.T, n *nodetest.Node) *compat.StepActionEvent {
	t.Helper()
	return n.Next(t, "SendStepActionEvent").Request.(*compat.StepActionEvent) //nolint:forcetypeassert // what the call gets
}

func TestATaskIsExecutedAndReported(t *testing.T) {
	b := newBed(t)
	task := limpet.NewStandaloneTask(b.client, "Double", func(ctx limpet.Context, i in) (out, error) {
		return out{2*i.N + int(ctx.RetryCount()), ctx.Worker().ID()}, nil
	})
	b.run(t, limpet.WithWorkflows(task))
	n := b.nodes[0]
	if put := n.Next(t, "PutWorkflow"); put.Header.Get("authorization")[0] != "bearer "+token {
		t.Errorf("the token is sent as %q", put.Header.Get("authorization"))
	}
	n.Stream(t).Send(order("double:double", 1))
	start, r := reports(t, n)
	if start.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_STARTED || start.GetRetryCount() != 1 {
		t.Errorf("the report of its start is %v", start)
	}
	var got out
	if err := json.Unmarshal([]byte(r.GetEventPayload()), &got); err != nil || got != (out{41, "w"}) ||
		r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED || r.GetTaskRunExternalId() != "task-run" || r.GetWorkerId() != "w" {
		t.Errorf("the second report is %v: %v", r, err)
	}
}

func TestWhatGoesWrongInATaskIsAFailure(t *testing.T) {
	for _, c := range []struct {
		name  string
		fn    func(limpet.Context, in) (out, error)
		want  string
		final bool
	}{
		{"an error", func(limpet.Context, in) (out, error) { return out{}, errors.New("no disk") }, "no disk", false},
		{"a final error", func(limpet.Context, in) (out, error) {
			return out{}, fmt.Errorf("step: %w", limpet.NonRetryable(errors.New("no such file")))
		}, "step: no such file", true},
		{"a panic", func(limpet.Context, in) (out, error) { panic("boom") }, "panic: boom", false},
		{"an index", func(_ limpet.Context, i in) (out, error) { return out{N: []int{1}[i.N]}, nil }, "index out of range", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			b.run(t, limpet.WithWorkflows(limpet.NewStandaloneTask(b.client, "x", c.fn)))
			b.nodes[0].Stream(t).Send(order("x:x", 0))
			_, r := reports(t, b.nodes[0])
			if r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_FAILED || !strings.Contains(r.GetEventPayload(), c.want) || r.GetShouldNotRetry() != c.final {
				t.Errorf("the report is %v", r)
			}
		})
	}
}

func TestAnInputThatDoesNotFitIsAFinalFailure(t *testing.T) {
	b := newBed(t)
	b.run(t, limpet.WithWorkflows(limpet.NewStandaloneTask(b.client, "x", func(limpet.Context, in) (out, error) { return out{}, nil })))
	a := order("x:x", 0)
	a.ActionPayload = `{"input":{"N":"twenty"}}`
	b.nodes[0].Stream(t).Send(a)
	if _, r := reports(t, b.nodes[0]); r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_FAILED || !r.GetShouldNotRetry() || !strings.Contains(r.GetEventPayload(), "input") {
		t.Errorf("the report is %v", r)
	}
}

func TestAReportIsRepeatedUntilANodeTakesIt(t *testing.T) {
	b := newBed(t)
	b.run(t, limpet.WithWorkflows(limpet.NewStandaloneTask(b.client, "x", func(limpet.Context, in) (out, error) { return out{}, nil })))
	n := b.nodes[0]
	stream := n.Stream(t)
	n.Fail("SendStepActionEvent", nodetest.Down(), nodetest.Down(), nodetest.Down())
	stream.Send(order("x:x", 0))
	ids := map[string]int{}
	for range 5 {
		ids[n.Next(t, "SendStepActionEvent").Header.Get(limpetv1.HeaderRequestID)[0]]++
	}
	var tries []int
	for _, k := range ids {
		tries = append(tries, k)
	}
	if len(ids) != 2 || tries[0]+tries[1] != 5 {
		t.Errorf("two reports had the request ids %v", ids)
	}
}

func TestAWorkerSaysWhereItIsAndWhichStart(t *testing.T) {
	b := newBed(t)
	task := limpet.NewStandaloneTask(b.client, "x", func(limpet.Context, in) (out, error) { return out{}, nil })
	b.run(t, limpet.WithWorkflows(task), limpet.WithIdentity("gpu-1"), limpet.WithGeneration("disk-7"), limpet.WithSlots(3), limpet.WithLabels(map[string]any{"gpu": "a100", "gb": 80}))
	c := b.nodes[0].Next(t, "Register")
	r := c.Request.(*compat.WorkerRegisterRequest) //nolint:forcetypeassert // what Register gets
	l := r.GetLabels()
	if l[limpetv1.LabelIdentity].GetStrValue() != "gpu-1" || l[limpetv1.LabelGeneration].GetStrValue() != "disk-7" || l["gpu"].GetStrValue() != "a100" ||
		l["gb"].GetIntValue() != 80 || r.GetSlotConfig()["default"] != 3 || len(r.GetActions()) != 1 || r.GetActions()[0] != "x:x" {
		t.Errorf("it registers as %v", r)
	}
	incarnation := c.Header.Get(limpetv1.HeaderIncarnation)
	stream := b.nodes[0].Stream(t)
	if got := stream.Header.Get(limpetv1.HeaderIncarnation); len(incarnation) != 1 || len(got) != 1 || got[0] != incarnation[0] || incarnation[0] == "" {
		t.Errorf("it registers as %q and listens as %q", incarnation, got)
	}
}

func TestAFencedWorkerStops(t *testing.T) {
	b := newBed(t)
	cause := make(chan error, 1)
	task := limpet.NewStandaloneTask(b.client, "x", func(ctx limpet.Context, _ in) (out, error) {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return out{}, ctx.Err()
	})
	stop := b.run(t, limpet.WithWorkflows(task))
	stream := b.nodes[0].Stream(t)
	stream.Send(order("x:x", 0))
	report(t, b.nodes[0])
	stream.End(status.Error(codes.FailedPrecondition, "a newer start took the place"))
	if err := <-cause; !errors.Is(err, limpet.ErrFenced) {
		t.Errorf("its task is told %v", err)
	}
	if err := stop(); !errors.Is(err, limpet.ErrFenced) {
		t.Errorf("it ends with %v", err)
	}
	for len(b.nodes[0].Calls) > 0 {
		if c := <-b.nodes[0].Calls; c.Method == "Unsubscribe" || c.Method == "SendStepActionEvent" {
			t.Errorf("it still calls %s, which is no more its own affair", c.Method)
		}
	}
}

func TestACancelledTaskIsToldAndSaysNothing(t *testing.T) {
	b := newBed(t)
	cause := make(chan error, 1)
	task := limpet.NewStandaloneTask(b.client, "x", func(ctx limpet.Context, _ in) (out, error) {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return out{}, ctx.Err()
	})
	stop := b.run(t, limpet.WithWorkflows(task))
	stream := b.nodes[0].Stream(t)
	stream.Send(order("x:x", 2))
	report(t, b.nodes[0])
	for _, attempt := range []int32{1, 2} { // of an attempt that is over, and of this one
		a := order("x:x", attempt)
		a.ActionType = compat.ActionType_CANCEL_STEP_RUN
		stream.Send(a)
	}
	if err := <-cause; !errors.Is(err, limpet.ErrCancelled) {
		t.Errorf("its task is told %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for len(b.nodes[0].Calls) > 0 {
		if c := <-b.nodes[0].Calls; c.Method == "SendStepActionEvent" {
			t.Errorf("it reports %v", c.Request)
		}
	}
}

func TestANewerAttemptEndsTheOlder(t *testing.T) {
	b := newBed(t)
	cause := make(chan error, 1)
	task := limpet.NewStandaloneTask(b.client, "x", func(ctx limpet.Context, _ in) (out, error) {
		if ctx.RetryCount() > 0 {
			return out{N: 1}, nil
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return out{}, ctx.Err()
	})
	b.run(t, limpet.WithWorkflows(task))
	stream := b.nodes[0].Stream(t)
	stream.Send(order("x:x", 0))
	report(t, b.nodes[0])
	stream.Send(order("x:x", 0)) // a repeat changes nothing
	stream.Send(order("x:x", 1))
	if err := <-cause; !errors.Is(err, limpet.ErrSuperseded) {
		t.Errorf("the older attempt is told %v", err)
	}
	for r := report(t, b.nodes[0]); r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED; r = report(t, b.nodes[0]) {
		if r.GetRetryCount() != 1 && r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_STARTED {
			t.Errorf("it reports %v", r)
		}
	}
}

func TestAWorkerFinishesWhatItHoldsBeforeItLeaves(t *testing.T) {
	b := newBed(t)
	release := make(chan struct{})
	task := limpet.NewStandaloneTask(b.client, "x", func(ctx limpet.Context, _ in) (out, error) {
		select {
		case <-release:
			return out{N: 7}, nil
		case <-ctx.Done():
			return out{}, context.Cause(ctx)
		}
	})
	stop := b.run(t, limpet.WithWorkflows(task), limpet.WithDrainTimeout(time.Minute))
	n := b.nodes[0]
	n.Stream(t).Send(order("x:x", 0))
	report(t, n)
	go func() {
		n.Next(t, "DrainWorker")
		close(release)
	}()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if r := report(t, n); r.GetEventType() != compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED {
		t.Errorf("it reports %v", r)
	}
	n.Next(t, "Unsubscribe")
}

func TestAWorkerGoesOnAtAnotherNode(t *testing.T) {
	b := newBed(t)
	both, err := limpet.New(limpet.WithToken(token), limpet.WithEndpoints(b.nodes[0].Addr, b.nodes[1].Addr), limpet.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = both.Close() }()
	task := limpet.NewStandaloneTask(both, "x", func(limpet.Context, in) (out, error) { return out{}, nil })
	stop := (&bed{client: both}).run(t, limpet.WithWorkflows(task))
	var s *nodetest.Stream
	first := 0
	select {
	case s = <-b.nodes[0].Streams:
	case s = <-b.nodes[1].Streams:
		first = 1
	}
	s.Send(order("x:x", 0))
	report(t, b.nodes[first])
	b.nodes[first].Stop()
	b.nodes[1-first].Stream(t).Send(order("x:x", 1))
	for r := report(t, b.nodes[1-first]); r.GetRetryCount() != 1; r = report(t, b.nodes[1-first]) {
		continue
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAWorkerWhoseClientIsClosedEnds(t *testing.T) {
	b := newBed(t)
	stop := b.run(t, limpet.WithWorkflows(limpet.NewStandaloneTask(b.client, "x", func(limpet.Context, in) (out, error) { return out{}, nil })))
	b.nodes[0].Stream(t)
	if err := b.client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
