package bench

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// passing reports whether a call that failed so may do better when it is made
// again.
func passing(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.DeadlineExceeded || code == codes.Aborted
}

// bulkRequest is many triggers in one call.
type bulkRequest struct {
	message *compat.BulkTriggerWorkflowRequest
}

func newBulkRequest(one *compatv1.TriggerWorkflowRequest, n int) bulkRequest {
	m := &compat.BulkTriggerWorkflowRequest{}
	for range n {
		m.Workflows = append(m.Workflows, one)
	}
	return bulkRequest{m}
}

func (b bulkRequest) send(ctx context.Context, c compat.WorkflowServiceClient) ([]string, error) {
	res, err := c.BulkTriggerWorkflow(ctx, b.message)
	if err != nil {
		return nil, err
	}
	if got, want := len(res.GetWorkflowRunIds()), len(b.message.GetWorkflows()); got != want {
		return nil, status.Errorf(codes.Internal, "asked for %d runs in one call and got %d", want, got)
	}
	return res.GetWorkflowRunIds(), nil
}

// Throughput measures one-task runs, triggered one by one.
func Throughput(ctx context.Context, o *Options) (*Result, error) {
	r := o.result("throughput", map[string]any{"outstanding": o.Outstanding, "sticky": o.Sticky})
	ctx, s, err := o.set(ctx, nil, oneTask("throughput", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if r.Figures, err = s.closed(ctx, "throughput", 1); err != nil {
		return nil, err
	}
	r.warnings()
	return r, nil
}

// Bulk measures one-task runs, triggered so many in one call.
func Bulk(ctx context.Context, o *Options, batch int) (*Result, error) {
	const largestBatch = 1000
	if batch < 1 || batch > largestBatch {
		return nil, &OptionError{"batch", fmt.Sprint(batch), fmt.Sprintf("1 to %d", largestBatch)}
	}
	r := o.result("bulk", map[string]any{"outstanding": o.Outstanding, "batch": batch, "sticky": o.Sticky})
	ctx, s, err := o.set(ctx, nil, oneTask("bulk", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if r.Figures, err = s.closed(ctx, "bulk", batch); err != nil {
		return nil, err
	}
	r.warnings()
	return r, nil
}

// DAG measures runs of two roots and a task that waits for both, on one worker.
func DAG(ctx context.Context, o *Options) (*Result, error) {
	flow := workflow{name: newName("dag"), sticky: o.Sticky, tasks: []task{{name: "left"}, {name: "right"}, {name: "join", parents: []string{"left", "right"}}}}
	r := o.result("dag", map[string]any{"outstanding": o.Outstanding, "sticky": o.Sticky})
	ctx, s, err := o.set(ctx, nil, flow)
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if r.Figures, err = s.closed(ctx, "dag", 1); err != nil {
		return nil, err
	}
	r.set("tasks_per_second", r.RunsPerSecond*float64(len(flow.tasks)))
	r.warnings()
	return r, nil
}
