package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// cancelBatch is how many ids go into one command.
const cancelBatch = 1000

// admin is the service v1.AdminService. It is the SDKs' and needs no more than
// any token.
type admin struct {
	compatv1.UnimplementedAdminServiceServer
	*Services
}

// PutWorkflow registers a workflow in the current form.
func (a *admin) PutWorkflow(ctx context.Context, r *compatv1.CreateWorkflowVersionRequest) (*compatv1.CreateWorkflowVersionResponse, error) {
	d, err := definition(r)
	if err != nil {
		return nil, err
	}
	version, workflow, err := a.putWorkflow(ctx, d)
	if err != nil {
		return nil, err
	}
	return &compatv1.CreateWorkflowVersionResponse{Id: string(version), WorkflowId: string(workflow)}, nil
}

// TriggerWorkflowRun starts one run that has no parent.
func (a *admin) TriggerWorkflowRun(ctx context.Context, r *compatv1.TriggerWorkflowRunRequest) (*compatv1.TriggerWorkflowRunResponse, error) {
	spec := &limpetv1.RunSpec{Workflow: r.GetWorkflowName()}
	err := checkName("workflow_name", r.GetWorkflowName())
	if err != nil {
		return nil, err
	}
	if err = payloads("", spec, r.GetInput(), r.GetAdditionalMetadata(), a.cfg.MaxMessage); err != nil {
		return nil, err
	}
	if spec.Priority, err = checkPriority("priority", r.Priority); err != nil {
		return nil, err
	}
	if spec.Labels, err = labelWishes("desired_worker_labels", r.GetDesiredWorkerLabels()); err != nil {
		return nil, err
	}
	if spec.RunId, err = newID(); err != nil {
		return nil, err
	}
	ids, err := a.triggerRuns(ctx, []*limpetv1.RunSpec{spec})
	if err != nil {
		return nil, err
	}
	return &compatv1.TriggerWorkflowRunResponse{ExternalId: ids[0]}, nil
}

// GetRunDetails gives the state of a run and of its task runs.
func (a *admin) GetRunDetails(ctx context.Context, r *compatv1.GetRunDetailsRequest) (*compatv1.GetRunDetailsResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("external_id", r.GetExternalId())
	if err != nil {
		return nil, err
	}
	view, run, err := a.run(ctx, t, fsm.RunID(id))
	if err != nil {
		return nil, err
	}
	return details(view, run), nil
}

// CancelTasks cancels runs and task runs, by id or by a filter over runs.
func (a *admin) CancelTasks(ctx context.Context, r *compatv1.CancelTasksRequest) (*compatv1.CancelTasksResponse, error) {
	open := func(run *fsm.Run) bool { return !run.Status.Final() }
	ids, err := a.eachChosen(ctx, "cancel", r.GetExternalIds(), r.Filter, open, func(t fsm.TenantID, ids []string) fsm.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{
			CancelTasks: &limpetv1.CancelTasks{TenantId: string(t), Ids: transport.WithoutPast(ctx, a.cfg.Backend, t, ids), Reason: "cancelled by request"},
		}}
	})
	return &compatv1.CancelTasksResponse{CancelledTasks: ids}, err
}

// ReplayTasks runs runs, or task runs and what depends on them, again.
func (a *admin) ReplayTasks(ctx context.Context, r *compatv1.ReplayTasksRequest) (*compatv1.ReplayTasksResponse, error) {
	all := func(*fsm.Run) bool { return true }
	ids, err := a.eachChosen(ctx, "replay", r.GetExternalIds(), r.Filter, all, func(t fsm.TenantID, ids []string) fsm.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{
			ReplayTasks: &limpetv1.ReplayTasks{TenantId: string(t), Ids: ids},
		}}
	})
	return &compatv1.ReplayTasksResponse{ReplayedTasks: ids}, err
}

// eachChosen proposes a command for the runs and task runs that are named or
// filtered, in batches, and gives the ids that it changed.
func (a *admin) eachChosen(
	ctx context.Context, what string, named []string, filter *compatv1.TasksFilter, keep func(*fsm.Run) bool,
	command func(t fsm.TenantID, ids []string) fsm.Command,
) ([]string, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 && filter == nil {
		return nil, invalid("external_ids", "", "either external_ids or filter must be provided", "")
	}
	var ids, out []string
	for i, text := range named {
		id, err := checkID(fmt.Sprintf("external_ids[%d]", i), text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if filter != nil {
		f, err := newRunFilter(filter)
		if err != nil {
			return nil, err
		}
		// The caller may mean a run that it has just started at another node.
		if err := a.current(ctx); err != nil {
			return nil, err
		}
		ids = append(ids, f.runs(a.cfg.Backend.View(), t, keep)...)
	}
	for batch := range slices.Chunk(ids, cancelBatch) {
		res, err := a.propose(ctx, what, command(t, batch))
		if no, ok := errors.AsType[*fsm.Refusal](err); ok {
			return nil, transport.PastRefusal(ctx, a.cfg.Backend, t, no)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, res.IDs...)
	}
	return out, nil
}
