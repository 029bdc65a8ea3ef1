package rpc

import (
	"context"
	"fmt"
	"slices"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
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
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.GetExternalIds()) == 0 && r.Filter == nil {
		return nil, invalid("external_ids", "", "either external_ids or filter must be provided", "")
	}
	var ids []string
	for i, text := range r.GetExternalIds() {
		id, err := checkID(fmt.Sprintf("external_ids[%d]", i), text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if r.Filter != nil {
		f, err := newRunFilter(r.GetFilter())
		if err != nil {
			return nil, err
		}
		// The caller may mean a run that it has just started at another node.
		if err := a.current(ctx); err != nil {
			return nil, err
		}
		ids = append(ids, f.openRuns(a.cfg.Backend.View(), t)...)
	}
	out := &compatv1.CancelTasksResponse{}
	for batch := range slices.Chunk(ids, cancelBatch) {
		res, err := a.propose(ctx, "cancel", &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{
			CancelTasks: &limpetv1.CancelTasks{TenantId: string(t), Ids: batch, Reason: "cancelled by request"},
		}})
		if err != nil {
			return nil, err
		}
		out.CancelledTasks = append(out.CancelledTasks, res.IDs...)
	}
	return out, nil
}
