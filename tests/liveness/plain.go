package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
)

// heartbeatEvery is what the published SDKs do.
const heartbeatEvery = 4 * time.Second

// plain is a worker that speaks as the published SDKs do: no identity, no
// incarnation, one address after the other.
type plain struct {
	notes *notebook
	name  string
	slots int
	id    string
	conn  atomic.Pointer[grpc.ClientConn]
	// broken takes the first error of any call.
	broken chan error
}

// api is at whatever node the worker is now.
func (p *plain) api() compat.DispatcherClient { return compat.NewDispatcherClient(p.conn.Load()) }

// plainWorker runs until ctx ends or the server does not know the worker any
// more.
func plainWorker(ctx context.Context, n *notebook, name string, slots int, fragile bool) error {
	p := &plain{notes: n, name: name, slots: slots, broken: make(chan error, 1)}
	told := ctx
	if fragile {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() { cancel(<-p.broken) }()
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+os.Getenv("HATCHET_CLIENT_TOKEN"))
	addrs := strings.Split(os.Getenv("HATCHET_CLIENT_HOST_PORT"), ",")
	for i := os.Getpid(); ctx.Err() == nil; i++ {
		if err := p.serve(ctx, addrs[i%len(addrs)]); err != nil {
			fmt.Fprintln(os.Stderr, "plain worker:", err)
			p.failed(err)
		}
		_ = sleep(ctx, 200*time.Millisecond)
	}
	if told.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// failed notes the first error of any call.
func (p *plain) failed(err error) {
	if err != nil {
		select {
		case p.broken <- err:
		default:
		}
	}
}

// serve listens at one address until the stream ends.
func (p *plain) serve(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer func() { _ = conn.Close() }()
	p.conn.Store(conn)
	if p.id == "" {
		if err := p.register(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.api().ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: p.id})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		for sleep(ctx, heartbeatEvery) == nil {
			_, err := p.api().Heartbeat(ctx, &compat.HeartbeatRequest{WorkerId: p.id, HeartbeatAt: timestamppb.Now()})
			p.failed(err)
		}
	}()
	for {
		a, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if a.GetActionType() == compat.ActionType_START_STEP_RUN {
			go p.execute(context.WithoutCancel(ctx), a)
		}
	}
}

func (p *plain) register(ctx context.Context) error {
	r := &compat.WorkerRegisterRequest{
		WorkerName: p.name, SlotConfig: map[string]int32{"default": int32(p.slots)}, //nolint:gosec // our own figure
		Actions: []string{"hold:hold", "mixed:first", "mixed:second"},
	}
	for i := range steps {
		r.Actions = append(r.Actions, "chain:s"+strconv.Itoa(i), "loose:s"+strconv.Itoa(i))
	}
	res, err := p.api().Register(ctx, r)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	p.id = res.GetWorkerId()
	return nil
}

func (p *plain) execute(ctx context.Context, a *compat.AssignedAction) {
	var payload struct{ Input hold }
	_ = json.Unmarshal([]byte(a.GetActionPayload()), &payload) // an order without our input takes no time
	l := line{
		Kind: "begin", Worker: p.id, Name: p.name, Run: a.GetWorkflowRunId(), TaskRun: a.GetTaskRunExternalId(), Task: a.GetTaskName(), Attempt: a.GetRetryCount(),
	}
	p.notes.write(l)
	p.report(ctx, a, compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, "")
	_ = sleep(ctx, payload.Input.of(l.Attempt))
	out, err := json.Marshal(ran{p.id, l.Attempt})
	if err != nil {
		panic(err)
	}
	l.Kind = "end"
	p.notes.write(l)
	p.report(ctx, a, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, string(out))
}

// report is repeated as the SDKs do, at whatever node the worker is at by then.
func (p *plain) report(ctx context.Context, a *compat.AssignedAction, kind compat.StepActionEventType, text string) {
	const tries = 30
	for range tries {
		_, err := p.api().SendStepActionEvent(ctx, completion(a, p.id, kind, text))
		if err == nil {
			return
		}
		p.failed(err)
		_ = sleep(ctx, 500*time.Millisecond)
	}
}

func completion(a *compat.AssignedAction, worker string, kind compat.StepActionEventType, text string) *compat.StepActionEvent {
	return &compat.StepActionEvent{
		WorkerId: worker, JobId: a.GetJobId(), JobRunId: a.GetJobRunId(), TaskId: a.GetTaskId(), TaskRunExternalId: a.GetTaskRunExternalId(),
		ActionId: a.GetActionId(), EventTimestamp: timestamppb.Now(), EventType: kind, EventPayload: text, RetryCount: new(a.GetRetryCount()),
	}
}
