package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// bench measures one-task runs end to end over the SDKs' wire: trigger, the
// assignment at the worker, STARTED, COMPLETED, and the result at the caller.
type bench struct {
	c        *client
	Runs     int
	InFlight int
	Workers  int
	Sticky   string
	workflow string
}

func newBench(c *client) *cobra.Command {
	b := &bench{c: c}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure one-task runs per second and their latency", Args: cobra.NoArgs,
		Long: "Measure one-task runs end to end over gRPC, with workers and callers in this process\nthat do no work of their own. Spread over all addresses given.",
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	cmd.Flags().IntVar(&b.Runs, "runs", 5000, "number of runs")
	cmd.Flags().IntVar(&b.InFlight, "outstanding", 64, "runs in flight at once")
	cmd.Flags().IntVar(&b.Workers, "workers", 3, "number of workers")
	cmd.Flags().StringVar(&b.Sticky, "sticky", "none", "strategy of the workflow: none, soft or hard")
	return cmd
}

// figures are what a bench gives.
type figures struct {
	Runs          int     `json:"runs"`
	Outstanding   int     `json:"outstanding"`
	Workers       int     `json:"workers"`
	Seconds       float64 `json:"seconds"`
	RunsPerSecond float64 `json:"runs_per_second"`
	P50           float64 `json:"p50_ms"`
	P90           float64 `json:"p90_ms"`
	P99           float64 `json:"p99_ms"`
	P999          float64 `json:"p999_ms"`
	Max           float64 `json:"max_ms"`
	Failed        int64   `json:"failed"`
}

func (b *bench) run(ctx context.Context) error {
	if b.Runs < 1 || b.InFlight < 1 || b.Workers < 1 {
		return &exitError{exitUsage, errors.New("--runs, --outstanding and --workers must be at least 1")}
	}
	addrs, err := b.c.target()
	if err != nil {
		return err
	}
	token, err := b.c.credentials()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+token))
	defer cancel()
	conns := make([]*grpc.ClientConn, len(addrs))
	for i := range addrs {
		if conns[i], err = dial(addrs[i : i+1]); err != nil {
			return err
		}
		defer func() { _ = conns[i].Close() }()
	}
	b.workflow = "limpet-bench-" + uuid.NewString()[:8]
	if err := b.register(ctx, conns[0]); err != nil {
		return explain(err, addrs)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for w := range b.Workers {
		if err := b.startWorker(ctx, conns[w%len(conns)], w, &work); err != nil {
			return explain(err, addrs)
		}
	}
	f, err := b.drive(ctx, conns)
	if err != nil {
		return explain(err, addrs)
	}
	if b.c.json() {
		writeJSON(b.c.io.out, f)
		return nil
	}
	_, err = fmt.Fprintf(b.c.io.out, "%d one-task runs, %d outstanding, %d workers: %.0f runs/s\nlatency ms: p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f   failed %d\n",
		f.Runs, f.Outstanding, f.Workers, f.RunsPerSecond, f.P50, f.P90, f.P99, f.P999, f.Max, f.Failed)
	return err
}

func (b *bench) action() string { return b.workflow + ":task" }

func (b *bench) register(ctx context.Context, conn *grpc.ClientConn) error {
	req := &compatv1.CreateWorkflowVersionRequest{
		Name:  b.workflow,
		Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "task", Action: b.action(), Timeout: "60s", Inputs: "{}"}},
	}
	switch b.Sticky {
	case "none":
	case "soft":
		req.Sticky = compatv1.StickyStrategy_SOFT.Enum()
	case "hard":
		req.Sticky = compatv1.StickyStrategy_HARD.Enum()
	default:
		return &exitError{exitUsage, fmt.Errorf("--sticky is %q: must be none, soft or hard", b.Sticky)}
	}
	_, err := compatv1.NewAdminServiceClient(conn).PutWorkflow(ctx, req)
	return err
}

// startWorker registers a worker that answers each assignment with STARTED and
// COMPLETED, in that order, and does nothing else.
func (b *bench) startWorker(ctx context.Context, conn *grpc.ClientConn, n int, work *sync.WaitGroup) error {
	d := compat.NewDispatcherClient(conn)
	reg, err := d.Register(ctx, &compat.WorkerRegisterRequest{
		WorkerName: fmt.Sprintf("bench-%d", n), Actions: []string{b.action()}, SlotConfig: map[string]int32{"default": int32(b.InFlight)},
	})
	if err != nil {
		return err
	}
	stream, err := d.ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: reg.GetWorkerId()})
	if err != nil {
		return err
	}
	work.Go(func() { b.heartbeat(ctx, d, reg.GetWorkerId()) })
	work.Go(func() {
		for {
			a, err := stream.Recv()
			if err != nil {
				return
			}
			if a.GetActionType() == compat.ActionType_START_STEP_RUN {
				work.Go(func() { report(ctx, d, reg.GetWorkerId(), a) })
			}
		}
	})
	return nil
}

func (b *bench) heartbeat(ctx context.Context, d compat.DispatcherClient, worker string) {
	const every = 4 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_, _ = d.Heartbeat(ctx, &compat.HeartbeatRequest{WorkerId: worker})
		select {
		case <-ctx.Done():
			// A clean goodbye, so that no lease is left to run out.
			const patience = 2 * time.Second
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			_, _ = d.Unsubscribe(bye, &compat.WorkerUnsubscribeRequest{WorkerId: worker})
			cancel()
			return
		case <-tick.C:
		}
	}
}

func report(ctx context.Context, d compat.DispatcherClient, worker string, a *compat.AssignedAction) {
	for _, e := range []struct {
		kind    compat.StepActionEventType
		payload string
	}{{compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, ""}, {compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, `{"ok":true}`}} {
		_, _ = d.SendStepActionEvent(ctx, &compat.StepActionEvent{
			WorkerId: worker, JobId: a.GetJobId(), JobRunId: a.GetJobRunId(), TaskId: a.GetTaskId(), TaskRunExternalId: a.GetTaskRunExternalId(),
			ActionId: a.GetActionId(), EventType: e.kind, EventPayload: e.payload, RetryCount: &a.RetryCount,
		})
	}
}

// drive keeps so many runs in flight until all are done.
func (b *bench) drive(ctx context.Context, conns []*grpc.ClientConn) (figures, error) {
	var next, failed atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	errs := make(chan error, b.InFlight)
	start := time.Now()
	var callers sync.WaitGroup
	for i := range b.InFlight {
		callers.Go(func() {
			mine, err := b.caller(ctx, conns[i%len(conns)], &next, &failed)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if err != nil {
				errs <- err
			}
		})
	}
	callers.Wait()
	elapsed := time.Since(start).Seconds()
	if len(errs) > 0 {
		return figures{}, <-errs
	}
	slices.Sort(took)
	at := func(permille int) float64 {
		return float64(took[min(len(took)-1, len(took)*permille/1000)].Microseconds()) / 1000
	}
	return figures{
		Runs: len(took), Outstanding: b.InFlight, Workers: b.Workers, Seconds: elapsed, RunsPerSecond: float64(len(took)) / elapsed,
		P50: at(500), P90: at(900), P99: at(990), P999: at(999), Max: at(1000), Failed: failed.Load(),
	}, nil
}

// caller triggers one run after another and waits for the result of each.
func (b *bench) caller(ctx context.Context, conn *grpc.ClientConn, next, failed *atomic.Int64) ([]time.Duration, error) {
	stream, err := compat.NewDispatcherClient(conn).SubscribeToWorkflowRuns(ctx)
	if err != nil {
		return nil, err
	}
	w := compat.NewWorkflowServiceClient(conn)
	var took []time.Duration
	for next.Add(1) <= int64(b.Runs) {
		begin := time.Now()
		res, err := w.TriggerWorkflow(ctx, &compatv1.TriggerWorkflowRequest{Name: b.workflow, Input: "{}"})
		if err != nil {
			return took, err
		}
		if err := stream.Send(&compat.SubscribeToWorkflowRunsRequest{WorkflowRunId: res.GetWorkflowRunId()}); err != nil {
			return took, err
		}
		ev, err := stream.Recv()
		if err != nil {
			return took, err
		}
		if len(ev.GetResults()) != 1 || ev.GetResults()[0].Error != nil {
			failed.Add(1)
		}
		took = append(took, time.Since(begin))
	}
	return took, stream.CloseSend()
}
