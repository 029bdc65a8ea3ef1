package limpet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/api/compat/v1"
)

// Task is a task of a workflow, typed by its output.
type Task[Out any] struct {
	workflow *workflow
	name     string
}

// Parent is a task that others may wait for.
type Parent interface{ parent() (*workflow, string) }

func (t *Task[Out]) parent() (*workflow, string) { return t.workflow, t.name }

// Name is the task's name.
func (t *Task[Out]) Name() string { return t.name }

// Output is what the task gave in the run of ctx, in a task that has it for a
// parent.
func (t *Task[Out]) Output(ctx Context) (Out, error) {
	var out Out
	raw, ok := ctx.ParentOutput(t.name)
	if !ok {
		return out, NonRetryable(fmt.Errorf("limpet: task %q is no parent of task %q, or was skipped: name it in WithParents", t.name, ctx.TaskName()))
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, NonRetryable(fmt.Errorf("limpet: output of task %q is no %T: %w", t.name, out, err))
	}
	return out, nil
}

// From is what the task gave in a run that has completed.
func (t *Task[Out]) From(r *Result) (Out, error) {
	var out Out
	err := r.Into(t.name, &out)
	return out, err
}

// TaskOption is a setting of a task. It fits a standalone task too.
type TaskOption interface {
	StandaloneOption
	task(w *workflow, t *compatv1.CreateTaskOpts)
}

type taskOption func(*workflow, *compatv1.CreateTaskOpts)

func (o taskOption) task(w *workflow, t *compatv1.CreateTaskOpts)       { o(w, t) }
func (o taskOption) standalone(w *workflow, t *compatv1.CreateTaskOpts) { o(w, t) }

// WithParents makes the task wait for others of its workflow.
func WithParents(parents ...Parent) TaskOption {
	return taskOption(func(w *workflow, t *compatv1.CreateTaskOpts) {
		for _, p := range parents {
			of, name := p.parent()
			if of != w {
				w.problems = append(w.problems, fmt.Errorf("task %q: its parent %q is of another workflow", t.GetReadableId(), name))
			}
			t.Parents = append(t.Parents, name)
		}
	})
}

// WithRetries is how many attempts may follow the first when it fails.
func WithRetries(n int32) TaskOption {
	return taskOption(func(_ *workflow, t *compatv1.CreateTaskOpts) { t.Retries = n })
}

// WithBackoff makes attempts wait: factor to the power of the number of failures,
// in seconds, and not longer than most.
func WithBackoff(factor float32, most time.Duration) TaskOption {
	return taskOption(func(_ *workflow, t *compatv1.CreateTaskOpts) {
		t.BackoffFactor, t.BackoffMaxSeconds = &factor, new(int32(most/time.Second)) //nolint:gosec // seconds
	})
}

// WithExecutionTimeout bounds one attempt.
func WithExecutionTimeout(d time.Duration) TaskOption {
	return taskOption(func(_ *workflow, t *compatv1.CreateTaskOpts) { t.Timeout = d.String() })
}

// WithScheduleTimeout bounds the wait for a worker.
func WithScheduleTimeout(d time.Duration) TaskOption {
	return taskOption(func(_ *workflow, t *compatv1.CreateTaskOpts) { t.ScheduleTimeout = new(d.String()) })
}

// WithTaskSlots is how many of the worker's slots the task takes; 1 if not given.
func WithTaskSlots(n int32) TaskOption {
	return taskOption(func(_ *workflow, t *compatv1.CreateTaskOpts) { t.SlotRequests = map[string]int32{defaultSlot: n} })
}

// LabelWish is what a task wants of its worker's label of that key.
type LabelWish struct {
	// Value is a string or an int.
	Value any
	// Required: a worker without it never gets the task. Else it is preferred, by
	// Weight; 0 is for 100.
	Required bool
	Weight   int32
}

// WithDesiredLabels says which workers the task wants, by label.
func WithDesiredLabels(wishes map[string]LabelWish) TaskOption {
	return taskOption(func(w *workflow, t *compatv1.CreateTaskOpts) {
		t.WorkerLabels = map[string]*compatv1.DesiredWorkerLabels{}
		for key, wish := range wishes {
			d := &compatv1.DesiredWorkerLabels{Required: &wish.Required}
			if wish.Weight != 0 {
				d.Weight = &wish.Weight
			}
			switch v := wish.Value.(type) {
			case string:
				d.StrValue = &v
			case int:
				d.IntValue = new(int32(v)) //nolint:gosec // as the wire has it
			default:
				w.problems = append(w.problems, fmt.Errorf("task %q: label %q is a %T: must be a string or an int", t.GetReadableId(), key, v))
			}
			t.WorkerLabels[key] = d
		}
	})
}

// NewTask adds a task to a workflow.
func NewTask[In, Out any](w *Workflow[In], name string, fn func(ctx Context, in In) (Out, error), opts ...TaskOption) *Task[Out] {
	t := addTask(w.workflow, name, fn)
	for _, o := range opts {
		o.task(w.workflow, t)
	}
	w.request.Tasks = append(w.request.Tasks, t)
	return &Task[Out]{w.workflow, name}
}

// OnFailure adds the task that runs when a task of the workflow has failed.
func OnFailure[In, Out any](w *Workflow[In], fn func(ctx Context, in In) (Out, error), opts ...TaskOption) {
	t := addTask(w.workflow, "on-failure", fn)
	for _, o := range opts {
		o.task(w.workflow, t)
	}
	w.request.OnFailureTask = t
}

const defaultSlot = "default"

func addTask[In, Out any](w *workflow, name string, fn func(Context, In) (Out, error)) *compatv1.CreateTaskOpts {
	action := strings.ToLower(w.request.GetName() + ":" + name)
	if strings.TrimSpace(name) == "" {
		w.problems = append(w.problems, errors.New("the name of a task must not be empty"))
	}
	if slices.ContainsFunc(w.request.GetTasks(), func(t *compatv1.CreateTaskOpts) bool { return strings.EqualFold(t.GetReadableId(), name) }) {
		w.problems = append(w.problems, fmt.Errorf("two tasks are called %q; upper and lower case are the same to a cluster", name))
	}
	w.handlers[action] = func(ctx Context, raw json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, NonRetryable(fmt.Errorf("the input is no %T: %w", in, err))
		}
		return fn(ctx, in)
	}
	return &compatv1.CreateTaskOpts{ReadableId: name, Action: action, Inputs: "{}", SlotRequests: map[string]int32{defaultSlot: 1}}
}

// StandaloneTask is a workflow of one task.
type StandaloneTask[In, Out any] struct {
	*workflow
	name string
}

// NewStandaloneTask declares a workflow of one task of the same name.
func NewStandaloneTask[In, Out any](c *Client, name string, fn func(ctx Context, in In) (Out, error), opts ...StandaloneOption) *StandaloneTask[In, Out] {
	w := newWorkflow(c, name)
	t := addTask(w, name, fn)
	for _, o := range opts {
		o.standalone(w, t)
	}
	w.request.Tasks = append(w.request.Tasks, t)
	return &StandaloneTask[In, Out]{w, name}
}

// Name is the task's name.
func (t *StandaloneTask[In, Out]) Name() string { return t.name }
