package limpet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
)

// maxSeen bounds what is remembered of orders: repeats come soon, at a reconnect.
const maxSeen = 100_000

// orderKey names an attempt.
type orderKey struct {
	taskRun string
	attempt int32
}

// execution is an attempt that is executed now.
type execution struct {
	attempt int32
	cancel  context.CancelCauseFunc
}

// start begins an attempt, unless it was begun already: a node repeats an order
// when the worker comes back to it before it has heard of its start.
func (w *Worker) start(a *compat.AssignedAction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := orderKey{a.GetTaskRunExternalId(), a.GetRetryCount()}
	if _, again := w.seen[key]; again || w.stopped {
		return
	}
	if len(w.seen) >= maxSeen {
		clear(w.seen)
	}
	w.seen[key] = struct{}{}
	ctx, cancel := context.WithCancelCause(w.reporting)
	if old := w.running[key.taskRun]; old != nil {
		old.cancel(ErrSuperseded)
	}
	e := &execution{attempt: key.attempt, cancel: cancel}
	w.running[key.taskRun] = e
	w.background.Go(func() {
		defer cancel(nil)
		w.execute(ctx, a)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.running[key.taskRun] == e {
			delete(w.running, key.taskRun)
		}
	})
}

// cancel ends the context of an attempt.
func (w *Worker) cancel(a *compat.AssignedAction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.running[a.GetTaskRunExternalId()]; e != nil && e.attempt == a.GetRetryCount() {
		e.cancel(ErrCancelled)
	}
}

// execute says that the attempt has begun, executes it, and says how it ended.
// The start is told beside the work. The end does not wait for its answer: a node takes
// the two in any order, and answers both at once if the task was short.
func (w *Worker) execute(ctx context.Context, a *compat.AssignedAction) {
	w.background.Go(func() { w.report(a, compat.StepActionEventType_STEP_EVENT_TYPE_STARTED, "", false) })
	out, err := w.perform(ctx, a)
	var raw []byte
	if err == nil {
		if raw, err = json.Marshal(out); err != nil {
			err = NonRetryable(fmt.Errorf("the output is no JSON: %w", err))
		}
	}
	switch cause := context.Cause(ctx); {
	case cause != nil && err != nil && (errors.Is(cause, ErrCancelled) || errors.Is(cause, ErrSuperseded) || errors.Is(cause, ErrFenced) || errors.Is(cause, ErrStopped)):
		return // the cluster has ended the attempt, or gives it to another worker; it needs no word on it
	case err == nil:
		w.report(a, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, string(raw), false)
	default:
		var final permanent
		w.log.Warn("a task failed", "task", a.GetActionId(), "task_run", a.GetTaskRunExternalId(), "attempt", a.GetRetryCount(), "error", err)
		w.report(a, compat.StepActionEventType_STEP_EVENT_TYPE_FAILED, err.Error(), errors.As(err, &final))
	}
}

// perform calls the task's function inside the interceptors. A panic is an error
// with the stack.
func (w *Worker) perform(ctx context.Context, a *compat.AssignedAction) (out any, err error) {
	action := strings.ToLower(a.GetActionId())
	run, ok := w.handlers[action]
	if !ok {
		return nil, NonRetryable(fmt.Errorf("worker %q does not execute %q", w.name, a.GetActionId()))
	}
	task := &taskContext{worker: w, action: a, workflow: w.workflowOf[action], children: new(atomic.Int32), chunks: new(atomic.Int64)}
	if err := json.Unmarshal([]byte(a.GetActionPayload()), &task.payload); err != nil {
		return nil, NonRetryable(fmt.Errorf("the order of task %q cannot be read: %w", a.GetTaskName(), err))
	}
	if p := w.client.cfg.propagator; p != nil {
		carrier := map[string]string{}
		_ = json.Unmarshal([]byte(a.GetAdditionalMetadata()), &carrier) // other values than text are not the propagator's
		ctx = p.Extract(ctx, carrier)
	}
	next := func(ctx context.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		out, err = run(task.with(ctx), task.payload.Input)
		return err
	}
	info := task.info()
	for _, around := range slices.Backward(w.client.cfg.interceptors) {
		inner := next
		next = func(ctx context.Context) error { return around(ctx, info, inner) }
	}
	err = next(ctx)
	return out, err
}

// report tells of an attempt until a node has taken it or refused it for good.
func (w *Worker) report(a *compat.AssignedAction, kind compat.StepActionEventType, text string, final bool) {
	e := &compat.StepActionEvent{
		WorkerId: w.ID(), JobId: a.GetJobId(), JobRunId: a.GetJobRunId(), TaskId: a.GetTaskId(),
		TaskRunExternalId: a.GetTaskRunExternalId(), ActionId: a.GetActionId(), EventTimestamp: timestamppb.Now(),
		EventType: kind, EventPayload: text, RetryCount: new(a.GetRetryCount()),
	}
	if final {
		e.ShouldNotRetry = &final
	}
	err := w.client.call(w.reporting, "report "+kind.String(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewDispatcherClient(conn).SendStepActionEvent(ctx, e)
		return err
	})
	if err != nil {
		w.log.Warn("a report was not taken", "kind", kind, "task_run", a.GetTaskRunExternalId(), "attempt", a.GetRetryCount(), "error", err)
	}
}
