package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// Fanout measures parents that each spawn so many children on their own worker
// and wait for them.
func Fanout(ctx context.Context, o *Options, children int) (*Result, error) {
	const most = 1000
	if children < 1 || children > most {
		return nil, &OptionError{"children", fmt.Sprint(children), fmt.Sprintf("1 to %d", most)}
	}
	r := o.result("fanout", map[string]any{"outstanding": o.Outstanding, "children": children, "sticky": o.Sticky})
	parent, child := oneTask("parent", o.Sticky), oneTask("child", o.Sticky)
	var broken, elsewhere atomic.Int64
	var s *stage
	ctx, s, err := o.set(ctx, func(spec *fleetSpec) {
		spec.reporters += o.Outstanding // parents that wait hold one each
		spec.execute = func(ctx context.Context, w *worker, a *compat.AssignedAction) {
			switch {
			case a.GetActionId() == parent.action("task"):
				if err := s.spawn(ctx, w, a, child.name, children); err != nil {
					s.fleet.errs.add(err)
					broken.Add(1)
				}
			case o.Sticky != "none" && sentBy(a) != w.id:
				elsewhere.Add(1)
			}
		}
	}, parent, child)
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if r.Figures, err = s.closed(ctx, "fanout", 1); err != nil {
		return nil, err
	}
	r.set("children_per_second", r.RunsPerSecond*float64(children))
	r.set("parents_that_could_not_spawn", float64(broken.Load()))
	r.set("children_elsewhere", float64(elsewhere.Load()))
	r.warnings()
	return r, nil
}

// spawn starts children on the parent's worker and waits for all of them.
func (s *stage) spawn(ctx context.Context, w *worker, a *compat.AssignedAction, child string, n int) error {
	req := &compat.BulkTriggerWorkflowRequest{}
	for i := range n {
		one := &compatv1.TriggerWorkflowRequest{
			Name: child, Input: `{"worker":"` + w.id + `"}`, ParentId: &a.WorkflowRunId, ParentTaskRunExternalId: &a.TaskRunExternalId,
			ChildIndex: new(int32(i)),
		}
		if s.Sticky != "none" {
			one.DesiredWorkerId = &w.id
		}
		req.Workflows = append(req.Workflows, one)
	}
	res, err := s.wire.triggers(w.conn).BulkTriggerWorkflow(ctx, req)
	if err != nil {
		return err
	}
	ends := make(signal, n)
	for _, id := range res.GetWorkflowRunIds() {
		s.watch.add(w.conn, id, ends)
	}
	for range res.GetWorkflowRunIds() {
		select {
		case <-ends:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sentBy is the worker of the parent, as the child's input says.
func sentBy(a *compat.AssignedAction) string { return textAfter(a.GetActionPayload(), `"worker":`) }
