package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// workflows is the service WorkflowService.
type workflows struct {
	compat.UnimplementedWorkflowServiceServer
	*Services
}

// PutWorkflow registers a workflow in the first form.
func (w *workflows) PutWorkflow(ctx context.Context, r *compat.PutWorkflowRequest) (*compat.WorkflowVersion, error) {
	d, err := definitionV0(r.GetOpts())
	if err != nil {
		return nil, err
	}
	version, workflow, err := w.putWorkflow(ctx, d)
	if err != nil {
		return nil, err
	}
	out := &compat.WorkflowVersion{Id: string(version), WorkflowId: string(workflow), Version: d.GetVersion()}
	if v, ok := w.cfg.Backend.View().Version(version); ok {
		out.Order = v.Order
		out.CreatedAt = timestamppb.New(time.Unix(0, v.CreatedWall))
		out.UpdatedAt = out.GetCreatedAt()
	}
	return out, nil
}

// TriggerWorkflow starts one run.
func (w *workflows) TriggerWorkflow(ctx context.Context, r *compatv1.TriggerWorkflowRequest) (*compat.TriggerWorkflowResponse, error) {
	ids, err := w.trigger(ctx, "", r)
	if err != nil {
		return nil, err
	}
	return &compat.TriggerWorkflowResponse{WorkflowRunId: ids[0]}, nil
}

// BulkTriggerWorkflow starts many runs, all or none.
func (w *workflows) BulkTriggerWorkflow(ctx context.Context, r *compat.BulkTriggerWorkflowRequest) (*compat.BulkTriggerWorkflowResponse, error) {
	if len(r.GetWorkflows()) == 0 {
		return &compat.BulkTriggerWorkflowResponse{}, nil
	}
	ids, err := w.trigger(ctx, "workflows[%d].", r.GetWorkflows()...)
	if err != nil {
		return nil, err
	}
	return &compat.BulkTriggerWorkflowResponse{WorkflowRunIds: ids}, nil
}

// putWorkflow stores a definition.
func (s *Services) putWorkflow(ctx context.Context, d *limpetv1.WorkflowDefinition) (fsm.VersionID, fsm.WorkflowID, error) {
	t, err := tenant(ctx)
	if err != nil {
		return "", "", err
	}
	// All nodes compare these bytes: the same registration must give the same.
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		return "", "", invalid("name", d.GetName(), "the definition cannot be stored: "+err.Error(), "")
	}
	workflow, err := newID()
	if err != nil {
		return "", "", err
	}
	version, err := newID()
	if err != nil {
		return "", "", err
	}
	res, err := s.propose(ctx, "register workflow "+d.GetName(), &limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{
		PutWorkflow: &limpetv1.PutWorkflow{TenantId: string(t), WorkflowId: workflow, VersionId: version, Definition: b},
	}})
	if err != nil {
		return "", "", err
	}
	return fsm.VersionID(res.IDs[0]), fsm.WorkflowID(res.IDs[1]), nil
}

// trigger starts runs and gives their ids in order. The prefix, with a %d for
// the index, names the place of a request in errors.
func (s *Services) trigger(ctx context.Context, prefix string, requests ...*compatv1.TriggerWorkflowRequest) ([]string, error) {
	specs := make([]*limpetv1.RunSpec, len(requests))
	for i, r := range requests {
		at := prefix
		if at != "" {
			at = fmt.Sprintf(prefix, i)
		}
		spec, err := runSpec(at, r, s.cfg.MaxMessage)
		if err != nil {
			return nil, err
		}
		specs[i] = spec
	}
	return s.triggerRuns(ctx, specs)
}

func (s *Services) triggerRuns(ctx context.Context, specs []*limpetv1.RunSpec) ([]string, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		if spec.GetParentTaskRunId() != "" {
			s.inherit(ctx, t, spec)
			if spec.OnLost, err = transport.OnLost("additional_metadata", spec.GetMetadata()); err != nil {
				return nil, err
			}
		}
	}
	res, err := s.propose(ctx, "start workflow "+specs[0].GetWorkflow(), &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{
		TriggerRuns: &limpetv1.TriggerRuns{TenantId: string(t), Runs: specs},
	}})
	if err != nil {
		return nil, err
	}
	if len(res.IDs) != len(specs) {
		return nil, transport.Unavailable("start workflow %q: asked for %d runs and got %d", specs[0].GetWorkflow(), len(specs), len(res.IDs))
	}
	return res.IDs, nil
}

// runSpec converts one trigger.
func runSpec(at string, r *compatv1.TriggerWorkflowRequest, limit int) (*limpetv1.RunSpec, error) {
	spec := &limpetv1.RunSpec{Workflow: r.GetName()}
	err := checkName(at+"name", r.GetName())
	if err != nil {
		return nil, err
	}
	if err = payloads(at, spec, []byte(r.GetInput()), []byte(r.GetAdditionalMetadata()), limit); err != nil {
		return nil, err
	}
	if spec.Priority, err = checkPriority(at+"priority", r.Priority); err != nil {
		return nil, err
	}
	if spec.ParentRunId, err = checkOptionalID(at+"parent_id", r.GetParentId()); err != nil {
		return nil, err
	}
	if spec.ParentTaskRunId, err = checkOptionalID(at+"parent_task_run_external_id", r.GetParentTaskRunExternalId()); err != nil {
		return nil, err
	}
	if spec.DesiredWorker, err = checkOptionalID(at+"desired_worker_id", r.GetDesiredWorkerId()); err != nil {
		return nil, err
	}
	if spec.Labels, err = labelWishes(at+"desired_worker_labels", r.GetDesiredWorkerLabels()); err != nil {
		return nil, err
	}
	if spec.RunId, err = newID(); err != nil {
		return nil, err
	}
	// A retried parent spawns its children again and gets the same runs: those
	// with the same key, or else the same index. A child without either is new
	// each time.
	spec.ChildKey, spec.ChildIndex = r.GetChildKey(), r.GetChildIndex()
	if spec.GetParentTaskRunId() != "" && spec.GetChildKey() == "" && r.ChildIndex == nil {
		spec.ChildKey = spec.GetRunId()
	}
	return spec, nil
}

// payloads checks and fills in the input and the metadata of a run.
func payloads(at string, spec *limpetv1.RunSpec, input, metadata []byte, limit int) error {
	err := transport.CheckSize(at+"input", len(input), limit)
	if err != nil {
		return err
	}
	if err = transport.CheckSize(at+"additional_metadata", len(metadata), limit); err != nil {
		return err
	}
	if spec.Input, err = checkJSON(at+"input", input); err != nil {
		return err
	}
	if spec.Metadata, err = checkObject(at+"additional_metadata", metadata); err != nil {
		return err
	}
	spec.OnLost, err = transport.OnLost(at+"additional_metadata", spec.GetMetadata())
	return err
}
