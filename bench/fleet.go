package bench

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
)

const (
	// beatEvery is how often the SDKs send a heartbeat.
	beatEvery = 4 * time.Second
	// reportTries and reportPause: a report is made again while no node takes it.
	reportTries = 100
	reportPause = 100 * time.Millisecond
	// beaters share the heartbeats.
	beaters = 8
	done    = `{"ok":true}`
)

// fleet is workers that answer each assignment with STARTED and COMPLETED and
// do nothing else. All share the connections and one pool of reporters. Like the
// workers of the published SDKs they do not wait for the answer to STARTED before they
// execute: STARTED has reporters of its own.
type fleet struct {
	wire   *wire
	spec   fleetSpec
	began  chan *job
	jobs   chan *job
	pool   sync.Pool
	mu     sync.Mutex
	all    []*worker
	breaks atomic.Int64 // streams that ended
	errs   tally
	work   sync.WaitGroup
}

type fleetSpec struct {
	actions   []string
	slots     int
	reporters int
	// onAssigned is told of every assignment before it is worked on. It decides
	// whether it is worked on at all. Nil works on all.
	onAssigned func(w *worker, a *compat.AssignedAction) bool
	// execute does the task before COMPLETED. Nil does nothing.
	execute func(ctx context.Context, w *worker, a *compat.AssignedAction)
	// onCompleted is told that a COMPLETED was taken.
	onCompleted func(a *compat.AssignedAction)
}

type worker struct {
	id   string
	conn int
	stop context.CancelFunc
}

// job is an assignment until both of its reports are made.
type job struct {
	worker  *worker
	conn    int // over which it came, and the reports go
	order   *compat.AssignedAction
	reports atomic.Int32 // to be made
}

// newFleet starts the reporters; attach adds workers.
func newFleet(ctx context.Context, w *wire, spec fleetSpec) *fleet {
	f := &fleet{wire: w, spec: spec, began: make(chan *job, spec.reporters), jobs: make(chan *job, spec.reporters)}
	for range spec.reporters {
		f.work.Go(func() { f.reporter(ctx, f.began, f.start) })
		f.work.Go(func() { f.reporter(ctx, f.jobs, f.complete) })
	}
	for i := range beaters {
		f.work.Go(func() { f.beat(ctx, i) })
	}
	return f
}

// attach adds n workers, each with a stream of its own over shared connections.
func (f *fleet) attach(ctx context.Context, n int) error {
	const atOnce = 32
	var group sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, atOnce)
	for range min(atOnce, n) {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := f.attachOne(ctx); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

func (f *fleet) attachOne(ctx context.Context) error {
	n := f.wire.another()
	d := compat.NewDispatcherClient(f.wire.worker(n))
	reg, err := d.Register(ctx, &compat.WorkerRegisterRequest{
		WorkerName: fmt.Sprintf("bench-%d", n), Actions: f.spec.actions, SlotConfig: map[string]int32{"default": int32(f.spec.slots)},
	})
	if err != nil {
		return fmt.Errorf("register a worker: %w", err)
	}
	w := &worker{id: reg.GetWorkerId(), conn: n}
	ctx, w.stop = context.WithCancel(ctx)
	stream, err := d.ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: w.id})
	if err != nil {
		return fmt.Errorf("listen for worker %s: %w", w.id, err)
	}
	f.mu.Lock()
	f.all = append(f.all, w)
	f.mu.Unlock()
	f.work.Go(func() { f.listen(ctx, w, stream) })
	return nil
}

// workers gives those that are attached now.
func (f *fleet) workers() []*worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*worker(nil), f.all...)
}

// listen passes orders on to the reporters, over a new stream when one breaks.
func (f *fleet) listen(ctx context.Context, w *worker, stream grpc.ServerStreamingClient[compat.AssignedAction]) {
	for {
		for stream != nil && f.receive(ctx, w, stream) == nil {
		}
		if ctx.Err() != nil {
			return
		}
		if stream != nil {
			f.breaks.Add(1)
		}
		if !pause(ctx, reconnectPause) {
			return
		}
		w.conn++
		next, err := compat.NewDispatcherClient(f.wire.worker(w.conn)).ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: w.id})
		if err != nil {
			next = nil
		}
		stream = next
	}
}

func (f *fleet) receive(ctx context.Context, w *worker, stream grpc.ServerStreamingClient[compat.AssignedAction]) error {
	j, ok := f.pool.Get().(*job)
	if !ok {
		j = &job{order: &compat.AssignedAction{}}
	}
	if err := stream.RecvMsg(j.order); err != nil {
		return err
	}
	if j.order.GetActionType() != compat.ActionType_START_STEP_RUN || f.spec.onAssigned != nil && !f.spec.onAssigned(w, j.order) {
		f.pool.Put(j)
		return nil
	}
	reporters := [...]chan *job{f.began, f.jobs}
	j.worker, j.conn = w, w.conn
	j.reports.Store(int32(len(reporters)))
	for _, to := range reporters {
		select {
		case to <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// reporter makes one of the reports of each job, with a message of its own.
func (f *fleet) reporter(ctx context.Context, jobs <-chan *job, do func(context.Context, *compat.StepActionEvent, *job)) {
	event := &compat.StepActionEvent{}
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-jobs:
			do(ctx, event, j)
			f.reported(j)
		}
	}
}

// start reports that a task has started.
func (f *fleet) start(ctx context.Context, event *compat.StepActionEvent, j *job) {
	f.report(ctx, event, j, compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, "")
}

// complete executes a task and reports that it is completed.
func (f *fleet) complete(ctx context.Context, event *compat.StepActionEvent, j *job) {
	if f.spec.execute != nil {
		f.spec.execute(ctx, j.worker, j.order)
	}
	if f.report(ctx, event, j, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, done) && f.spec.onCompleted != nil {
		f.spec.onCompleted(j.order)
	}
}

// reported lets a job be used again after the last of its reports.
func (f *fleet) reported(j *job) {
	if j.reports.Add(-1) == 0 {
		f.pool.Put(j)
	}
}

// report makes one report, again at other nodes while none takes it. The
// message is the reporter's own and is used again.
func (f *fleet) report(ctx context.Context, event *compat.StepActionEvent, j *job, kind compat.StepActionEventType, payload string) bool {
	a := j.order
	attempt := a.GetRetryCount()
	event.WorkerId, event.JobId, event.JobRunId, event.TaskId = j.worker.id, a.GetJobId(), a.GetJobRunId(), a.GetTaskId()
	event.TaskRunExternalId, event.ActionId, event.EventType = a.GetTaskRunExternalId(), a.GetActionId(), kind
	event.EventPayload, event.RetryCount = payload, &attempt
	for try := range reportTries {
		_, err := compat.NewDispatcherClient(f.wire.worker(j.conn+try)).SendStepActionEvent(ctx, event)
		if err == nil {
			return true
		}
		f.errs.add(err)
		if code := status.Code(err); code != codes.Unavailable && code != codes.ResourceExhausted || !pause(ctx, reportPause) {
			return false
		}
	}
	return false
}

// beat sends the heartbeats of every n-th worker.
func (f *fleet) beat(ctx context.Context, first int) {
	req := &compat.HeartbeatRequest{}
	for ctx.Err() == nil {
		all := f.workers()
		mine := (len(all) - first + beaters - 1) / beaters
		if mine <= 0 {
			pause(ctx, beatEvery/beaters)
			continue
		}
		// Spread over the time, as those of workers of their own would be.
		for i := first; i < len(all); i += beaters {
			if !pause(ctx, beatEvery/time.Duration(mine)) {
				return
			}
			req.WorkerId = all[i].id
			_, _ = compat.NewDispatcherClient(f.wire.worker(i)).Heartbeat(ctx, req)
		}
	}
}

// leave signs all workers off, so that no lease is left to run out.
func (f *fleet) leave(ctx context.Context) {
	const patience, atOnce = 5 * time.Second, 32
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all := f.workers()
	var group sync.WaitGroup
	var next atomic.Int64
	for range min(atOnce, len(all)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				_, _ = compat.NewDispatcherClient(f.wire.worker(int(i))).Unsubscribe(ctx, &compat.WorkerUnsubscribeRequest{WorkerId: all[i].id})
			}
		})
	}
	group.Wait()
}

// tally counts errors by their gRPC code.
type tally struct {
	mu     sync.Mutex
	counts map[string]int64
	sample string
}

func (t *tally) add(err error) {
	if err == nil || status.Code(err) == codes.Canceled {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	t.counts[status.Code(err).String()]++
	t.sample = status.Convert(err).Message()
}

func (t *tally) total() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range t.counts {
		n += v
	}
	return n
}

func (t *tally) snapshot() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}
