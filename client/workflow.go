package limpet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat/v1"
)

// Sticky is a workflow's sticky strategy.
type Sticky int

// The strategies.
const (
	// Soft: the tasks of a run go to one worker; to another if it is unavailable.
	Soft Sticky = iota + 1
	// Hard: the tasks of a run go to one worker, ever.
	Hard
)

// Definition is a [Workflow] or a [StandaloneTask]: what a worker can be given to
// execute.
type Definition interface{ definition() *workflow }

// workflow is a definition without its types.
type workflow struct {
	client   *Client
	request  *compatv1.CreateWorkflowVersionRequest
	handlers map[string]handler // by action, in lower case
	problems []error
}

// handler executes one task: JSON in, a value for JSON out.
type handler func(Context, json.RawMessage) (any, error)

func (w *workflow) definition() *workflow { return w }

// Workflow is a directed graph of tasks with one input. Declare it in the worker
// and in the clients that start it, or give clients [NewWorkflow] without tasks.
type Workflow[In any] struct{ *workflow }

// WorkflowOption is a setting of a workflow. It fits a standalone task too.
type WorkflowOption interface {
	StandaloneOption
	workflow(w *workflow)
}

type workflowOption func(*workflow)

func (o workflowOption) workflow(w *workflow) { o(w) }

func (o workflowOption) standalone(w *workflow, _ *compatv1.CreateTaskOpts) { o(w) }

// StandaloneOption is a [WorkflowOption] or a [TaskOption].
type StandaloneOption interface {
	standalone(w *workflow, t *compatv1.CreateTaskOpts)
}

// WithSticky declares the workflow's sticky strategy.
func WithSticky(s Sticky) WorkflowOption {
	return workflowOption(func(w *workflow) {
		switch s {
		case Soft:
			w.request.Sticky = new(compatv1.StickyStrategy_SOFT)
		case Hard:
			w.request.Sticky = new(compatv1.StickyStrategy_HARD)
		default:
			w.problems = append(w.problems, fmt.Errorf("sticky is %d: must be Soft or Hard", s))
		}
	})
}

// WithEvents names the keys of events that start a run.
func WithEvents(keys ...string) WorkflowOption {
	return workflowOption(func(w *workflow) { w.request.EventTriggers = append(w.request.EventTriggers, keys...) })
}

// WithDefaultPriority is that of runs started without one: 1 low, 2 medium, 3
// high.
func WithDefaultPriority(p int32) WorkflowOption {
	return workflowOption(func(w *workflow) { w.request.DefaultPriority = &p })
}

// WithDescription is for people.
func WithDescription(text string) WorkflowOption {
	return workflowOption(func(w *workflow) { w.request.Description = text })
}

// NewWorkflow declares a workflow; add tasks with [NewTask].
func NewWorkflow[In any](c *Client, name string, opts ...WorkflowOption) *Workflow[In] {
	w := newWorkflow(c, name)
	for _, o := range opts {
		o.workflow(w)
	}
	return &Workflow[In]{w}
}

func newWorkflow(c *Client, name string) *workflow {
	w := &workflow{
		client: c, request: &compatv1.CreateWorkflowVersionRequest{Name: name}, handlers: map[string]handler{},
	}
	if strings.TrimSpace(name) == "" {
		w.problems = append(w.problems, errors.New("the name of a workflow must not be empty"))
	}
	return w
}

// check names what is wrong with the definition.
func (w *workflow) check() error {
	problems := slices.Clone(w.problems)
	if len(w.request.GetTasks()) == 0 {
		problems = append(problems, errors.New("it has no task: add one with NewTask"))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("limpet: workflow %q: %w", w.request.GetName(), err)
	}
	return nil
}

// put registers the definition.
func (w *workflow) put(ctx context.Context) error {
	return w.client.call(ctx, fmt.Sprintf("register workflow %q", w.request.GetName()), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compatv1.NewAdminServiceClient(conn).PutWorkflow(ctx, w.request)
		return err
	})
}

// Name is the workflow's name.
func (w *Workflow[In]) Name() string { return w.request.GetName() }
