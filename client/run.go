package limpet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// OnLost is what becomes of a run that is pinned to a worker with [Hard] when
// that worker is lost.
type OnLost string

// The policies.
const (
	// OnLostWait: it waits for the worker, until its schedule timeout.
	OnLostWait OnLost = "wait"
	// OnLostFail: it fails at once.
	OnLostFail OnLost = "fail"
	// OnLostRepin: it goes on at another worker, without the state.
	OnLostRepin OnLost = "repin"
)

// RunOption is a setting of one run.
type RunOption func(*trigger)

type trigger struct {
	sticky   bool
	metadata map[string]any
	priority *int32
	key      string
	worker   string
}

// WithRunSticky starts the run at the worker of the task that starts it. The call
// fails if the workflow declares no sticky strategy, or is not registered with
// that worker. Outside of a task it has no effect.
func WithRunSticky(sticky bool) RunOption { return func(t *trigger) { t.sticky = sticky } }

// WithRunWorker starts the run at a worker, by its id.
func WithRunWorker(id string) RunOption { return func(t *trigger) { t.worker = id } }

// WithRunMetadata adds to the run's metadata.
func WithRunMetadata(m map[string]any) RunOption {
	return func(t *trigger) {
		maps.Copy(t.metadata, m)
	}
}

// WithOnLost says what becomes of this run when its worker is lost.
func WithOnLost(o OnLost) RunOption {
	return func(t *trigger) { t.metadata[limpetv1.MetadataOnLost] = string(o) }
}

// WithRunPriority is 1 low, 2 medium or 3 high.
func WithRunPriority(p int32) RunOption { return func(t *trigger) { t.priority = &p } }

// WithRunKey names a child within the task that starts it: when the task is
// retried, the same key gives the same child. Without a key the order counts.
func WithRunKey(key string) RunOption { return func(t *trigger) { t.key = key } }

// RunRef is a run that was started.
type RunRef struct {
	client *Client
	id     string
}

// ID is the run's id.
func (r *RunRef) ID() string { return r.id }

// Result waits for the run to end. The error is a [*RunError] if it did not
// complete.
func (r *RunRef) Result(ctx context.Context) (*Result, error) {
	return r.client.results.wait(ctx, r.id)
}

// TypedRef is a run of a [StandaloneTask].
type TypedRef[Out any] struct {
	*RunRef
	task string
}

// Result waits for the run to end and gives its output. The error is a
// [*RunError] if it did not complete.
func (r *TypedRef[Out]) Result(ctx context.Context) (Out, error) {
	var out Out
	res, err := r.RunRef.Result(ctx)
	if err != nil {
		return out, err
	}
	err = res.Into(r.task, &out)
	return out, err
}

// Run starts a run and waits for its end.
func (w *Workflow[In]) Run(ctx context.Context, in In, opts ...RunOption) (*Result, error) {
	ref, err := w.RunNoWait(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	return ref.Result(ctx)
}

// RunNoWait starts a run. Within a task, pass on its [Context], so that the run
// is the task's child.
func (w *Workflow[In]) RunNoWait(ctx context.Context, in In, opts ...RunOption) (*RunRef, error) {
	return w.start(ctx, in, opts)
}

// RunMany starts a run for each input, all or none.
func (w *Workflow[In]) RunMany(ctx context.Context, in []In, opts ...RunOption) ([]*RunRef, error) {
	list := make([]any, len(in))
	for i := range in {
		list[i] = in[i]
	}
	return w.startMany(ctx, list, opts)
}

// Run starts a run and waits for its output.
func (t *StandaloneTask[In, Out]) Run(ctx context.Context, in In, opts ...RunOption) (Out, error) {
	ref, err := t.RunNoWait(ctx, in, opts...)
	if err != nil {
		var none Out
		return none, err
	}
	return ref.Result(ctx)
}

// RunNoWait starts a run; see [Workflow.RunNoWait].
func (t *StandaloneTask[In, Out]) RunNoWait(ctx context.Context, in In, opts ...RunOption) (*TypedRef[Out], error) {
	ref, err := t.start(ctx, in, opts)
	if err != nil {
		return nil, err
	}
	return &TypedRef[Out]{ref, t.name}, nil
}

// RunMany starts a run for each input, all or none.
func (t *StandaloneTask[In, Out]) RunMany(ctx context.Context, in []In, opts ...RunOption) ([]*TypedRef[Out], error) {
	list := make([]any, len(in))
	for i := range in {
		list[i] = in[i]
	}
	refs, err := t.startMany(ctx, list, opts)
	out := make([]*TypedRef[Out], len(refs))
	for i, r := range refs {
		out[i] = &TypedRef[Out]{r, t.name}
	}
	return out, err
}

func (w *workflow) start(ctx context.Context, in any, opts []RunOption) (*RunRef, error) {
	request, err := w.spec(ctx, in, opts)
	if err != nil {
		return nil, err
	}
	var id string
	err = w.client.call(ctx, fmt.Sprintf("start workflow %q", w.request.GetName()), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		res, err := compat.NewWorkflowServiceClient(conn).TriggerWorkflow(ctx, request)
		id = res.GetWorkflowRunId()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &RunRef{w.client, id}, nil
}

func (w *workflow) startMany(ctx context.Context, in []any, opts []RunOption) ([]*RunRef, error) {
	requests := make([]*compatv1.TriggerWorkflowRequest, len(in))
	for i := range in {
		var err error
		if requests[i], err = w.spec(ctx, in[i], opts); err != nil {
			return nil, err
		}
	}
	var refs []*RunRef
	err := w.client.call(ctx, fmt.Sprintf("start %d runs of workflow %q", len(in), w.request.GetName()), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		res, err := compat.NewWorkflowServiceClient(conn).BulkTriggerWorkflow(ctx, &compat.BulkTriggerWorkflowRequest{Workflows: requests})
		refs = nil
		for _, id := range res.GetWorkflowRunIds() {
			refs = append(refs, &RunRef{w.client, id})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return refs, nil
}

// spec makes the request of one run.
func (w *workflow) spec(ctx context.Context, in any, opts []RunOption) (*compatv1.TriggerWorkflowRequest, error) {
	t := &trigger{metadata: map[string]any{}}
	for _, o := range opts {
		o(t)
	}
	input, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("limpet: the input of workflow %q: %w", w.request.GetName(), err)
	}
	r := &compatv1.TriggerWorkflowRequest{Name: w.request.GetName(), Input: string(input), Priority: t.priority}
	if t.worker != "" {
		r.DesiredWorkerId = &t.worker
	}
	if p := w.client.cfg.propagator; p != nil {
		carrier := map[string]string{}
		p.Inject(ctx, carrier)
		for k, v := range carrier {
			t.metadata[k] = v
		}
	}
	if len(t.metadata) > 0 {
		raw, err := json.Marshal(t.metadata)
		if err != nil {
			return nil, fmt.Errorf("limpet: the metadata of a run of workflow %q: %w", w.request.GetName(), err)
		}
		r.AdditionalMetadata = new(string(raw))
	}
	if parent, ok := ctx.Value(taskKey{}).(*taskContext); ok {
		parent.adopt(r, t)
	}
	return r, nil
}

// Push tells the cluster of an event: it meets the conditions that wait for its
// key, and starts the workflows that it triggers. The payload must give a JSON
// object.
func (c *Client) Push(ctx context.Context, key string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("limpet: the payload of event %q: %w", key, err)
	}
	return c.call(ctx, fmt.Sprintf("push event %q", key), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewEventsServiceClient(conn).Push(ctx, &compat.PushEventRequest{Key: key, Payload: string(raw)})
		return err
	})
}

// Cancel cancels runs, or single task runs, by their ids.
func (c *Client) Cancel(ctx context.Context, ids ...string) error {
	return c.call(ctx, "cancel runs", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compatv1.NewAdminServiceClient(conn).CancelTasks(ctx, &compatv1.CancelTasksRequest{ExternalIds: ids})
		return err
	})
}

// Replay runs runs, or task runs and what depends on them, again.
func (c *Client) Replay(ctx context.Context, ids ...string) error {
	return c.call(ctx, "replay runs", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compatv1.NewAdminServiceClient(conn).ReplayTasks(ctx, &compatv1.ReplayTasksRequest{ExternalIds: ids})
		return err
	})
}
