package limpet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/api/compat/v1"
)

// Context is what a task gets: the context of its attempt, which ends when the
// task run is cancelled, and what it is a part of. Pass it on to Run and
// RunNoWait, so that the runs are the task's children.
type Context interface {
	context.Context

	// Worker is the worker that executes the task.
	Worker() WorkerRef
	// RunID and TaskRunID name the run and the task run, Workflow and TaskName
	// what they execute.
	RunID() string
	TaskRunID() string
	Workflow() string
	TaskName() string
	// RetryCount is the number of the attempt; the first is 0.
	RetryCount() int32
	// ParentOutput is what a parent task gave, as JSON; ok is false when it is no
	// parent or gave nothing. [Task.Output] gives it typed.
	ParentOutput(task string) (raw json.RawMessage, ok bool)
	// Errors are those of the failed tasks, by name, in an on-failure task.
	Errors() map[string]string
	// Metadata is the run's.
	Metadata() map[string]json.RawMessage
	// Log keeps a line with the task run. It does not wait, and loses the line if
	// no node takes it in time.
	Log(format string, args ...any)
	// Stream sends a piece of output to those who listen to the run.
	Stream(chunk []byte) error
	// RefreshTimeout gives the attempt more time.
	RefreshTimeout(by time.Duration) error
	// ReleaseSlot gives the worker's slots back while the task goes on.
	ReleaseSlot() error
}

// WorkerRef is a worker, from inside a task.
type WorkerRef struct{ worker *Worker }

// ID is the worker's id.
func (w WorkerRef) ID() string { return w.worker.ID() }

// Name is the worker's name.
func (w WorkerRef) Name() string { return w.worker.name }

// HasWorkflow reports whether the worker executes a workflow.
func (w WorkerRef) HasWorkflow(name string) bool {
	for _, d := range w.worker.definitions {
		if strings.EqualFold(d.request.GetName(), name) {
			return true
		}
	}
	return false
}

// UpsertLabels changes labels of the worker; those not named stay. Values are
// strings or ints.
func (w WorkerRef) UpsertLabels(ctx context.Context, labels map[string]any) error {
	list, err := wireLabels(labels)
	if err != nil {
		return err
	}
	return w.worker.client.call(ctx, "change labels of the worker", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewDispatcherClient(conn).UpsertWorkerLabels(ctx, &compat.UpsertWorkerLabelsRequest{WorkerId: w.ID(), Labels: list})
		return err
	})
}

// taskKey finds the task in a context that is derived from its own.
type taskKey struct{}

// taskContext implements Context.
type taskContext struct {
	context.Context //nolint:containedctx // it is one

	worker   *Worker
	action   *compat.AssignedAction
	payload  payload
	workflow string
	children *atomic.Int32
	chunks   *atomic.Int64
}

// payload is the JSON that comes with an order.
type payload struct {
	Input   json.RawMessage            `json:"input"`
	Parents map[string]json.RawMessage `json:"parents"`
	Errors  map[string]string          `json:"step_run_errors"`
}

// with gives the same task under another context.
func (c *taskContext) with(ctx context.Context) *taskContext {
	n := *c
	n.Context = context.WithValue(ctx, taskKey{}, &n)
	return &n
}

func (c *taskContext) Worker() WorkerRef { return WorkerRef{c.worker} }
func (c *taskContext) RunID() string     { return c.action.GetWorkflowRunId() }
func (c *taskContext) TaskRunID() string { return c.action.GetTaskRunExternalId() }
func (c *taskContext) Workflow() string  { return c.workflow }
func (c *taskContext) TaskName() string  { return c.action.GetTaskName() }
func (c *taskContext) RetryCount() int32 { return c.action.GetRetryCount() }

func (c *taskContext) ParentOutput(task string) (json.RawMessage, bool) {
	raw, ok := c.payload.Parents[task]
	return raw, ok
}

func (c *taskContext) Errors() map[string]string { return c.payload.Errors }

func (c *taskContext) Metadata() map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(c.action.GetAdditionalMetadata()), &m); err != nil {
		return nil
	}
	return m
}

func (c *taskContext) Log(format string, args ...any) {
	line := &compat.PutLogRequest{
		TaskRunExternalId: c.TaskRunID(), CreatedAt: timestamppb.Now(), Message: fmt.Sprintf(format, args...), Level: new("INFO"),
		Metadata: "{}", TaskRetryCount: new(c.RetryCount()),
	}
	c.worker.background.Go(func() {
		ctx, cancel := context.WithTimeout(c.worker.reporting, tryFor)
		defer cancel()
		err := c.worker.client.call(ctx, "keep a log line", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := compat.NewEventsServiceClient(conn).PutLog(ctx, line)
			return err
		})
		if err != nil {
			c.worker.log.Warn("a log line of a task was lost", "task_run", c.TaskRunID(), "error", err)
		}
	})
}

func (c *taskContext) Stream(chunk []byte) error {
	r := &compat.PutStreamEventRequest{
		TaskRunExternalId: c.TaskRunID(), CreatedAt: timestamppb.Now(), Message: chunk, Metadata: "{}", EventIndex: new(c.chunks.Add(1) - 1),
	}
	return c.worker.client.call(c, "stream a chunk", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewEventsServiceClient(conn).PutStreamEvent(ctx, r)
		return err
	})
}

func (c *taskContext) RefreshTimeout(by time.Duration) error {
	return c.worker.client.call(c, "refresh the timeout", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewDispatcherClient(conn).RefreshTimeout(ctx, &compat.RefreshTimeoutRequest{
			TaskRunExternalId: c.TaskRunID(), IncrementTimeoutBy: by.String(),
		})
		return err
	})
}

func (c *taskContext) ReleaseSlot() error {
	return c.worker.client.call(c, "release the slot", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewDispatcherClient(conn).ReleaseSlot(ctx, &compat.ReleaseSlotRequest{TaskRunExternalId: c.TaskRunID()})
		return err
	})
}

// adopt makes a run that is about to be started a child of the task.
func (c *taskContext) adopt(r *compatv1.TriggerWorkflowRequest, t *trigger) {
	r.ParentId, r.ParentTaskRunExternalId = new(c.RunID()), new(c.TaskRunID())
	if t.key != "" {
		r.ChildKey = &t.key
	}
	r.ChildIndex = new(c.children.Add(1) - 1)
	if t.sticky && r.DesiredWorkerId == nil {
		r.DesiredWorkerId = new(c.worker.ID())
	}
}

func (c *taskContext) info() TaskInfo {
	return TaskInfo{
		Workflow: c.workflow, Task: c.TaskName(), Action: c.action.GetActionId(), RunID: c.RunID(), TaskRunID: c.TaskRunID(),
		WorkerID: c.worker.ID(), Attempt: c.RetryCount(),
	}
}

// LogValue implements slog.LogValuer.
func (t TaskInfo) LogValue() slog.Value {
	return slog.GroupValue(slog.String("workflow", t.Workflow), slog.String("task", t.Task), slog.String("run", t.RunID),
		slog.String("task_run", t.TaskRunID), slog.Int("attempt", int(t.Attempt)))
}
