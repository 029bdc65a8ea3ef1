package admin

import (
	"context"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// ListWorkflows lists the tenant's workflows.
func (s *Service) ListWorkflows(ctx context.Context, _ *limpetv1.ListWorkflowsRequest) (*limpetv1.ListWorkflowsResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v := s.view()
	out := &limpetv1.ListWorkflowsResponse{}
	for w := range v.Workflows(tenant) {
		out.Workflows = append(out.Workflows, workflowInfo(v, w))
	}
	return out, nil
}

// SetWorkflowPolicy decides what becomes of the workflow's HARD runs when their
// worker is lost.
func (s *Service) SetWorkflowPolicy(ctx context.Context, r *limpetv1.SetWorkflowPolicyRequest) (*limpetv1.SetWorkflowPolicyResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	policy, err := transport.ParseOnLost("on_lost", r.GetOnLost())
	if err != nil {
		return nil, err
	}
	res, err := s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_SetWorkflow{SetWorkflow: &limpetv1.SetWorkflow{
		TenantId: string(tenant), Workflow: r.GetWorkflow(), OnLost: policy, Actor: actor(ctx),
	}}})
	if err != nil {
		return nil, err
	}
	v := s.view()
	w, ok := v.WorkflowByID(fsm.WorkflowID(res.IDs[0]))
	if !ok {
		return nil, unknown("workflow", r.GetWorkflow(), "no such workflow any more", "")
	}
	return &limpetv1.SetWorkflowPolicyResponse{Workflow: workflowInfo(v, w)}, nil
}

func workflowInfo(v fsm.View, w *fsm.Workflow) *limpetv1.WorkflowInfo {
	out := &limpetv1.WorkflowInfo{Id: string(w.ID), Name: w.Name, Versions: w.Versions, OnLost: w.Policy().String()}
	ver, ok := v.Version(w.Latest)
	if !ok {
		return out
	}
	out.Sticky, out.Tasks = ver.Sticky.String(), int32(len(ver.Tasks)) //nolint:gosec // bounded at registration
	for x := range v.Workers() {
		if x.Tenant == w.Tenant && x.Lease.State == fsm.LeaseLive && servesAll(x, ver) {
			out.Workers++
		}
	}
	return out
}

func servesAll(w *fsm.Worker, ver *fsm.Version) bool {
	for i := range ver.Tasks {
		if !w.HasAction(ver.Tasks[i].Action) {
			return false
		}
	}
	return true
}
