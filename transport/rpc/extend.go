package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// RefreshTimeout gives a running task more time.
func (d *dispatcher) RefreshTimeout(ctx context.Context, r *compat.RefreshTimeoutRequest) (*compat.RefreshTimeoutResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("task_run_external_id", r.GetTaskRunExternalId())
	if err != nil {
		return nil, err
	}
	by, err := nanos("increment_timeout_by", r.GetIncrementTimeoutBy())
	if err != nil {
		return nil, err
	}
	_, err = d.propose(ctx, "refresh the timeout of task run "+id, &limpetv1.Command{Kind: &limpetv1.Command_RefreshTimeout{
		RefreshTimeout: &limpetv1.RefreshTimeout{TenantId: string(t), TaskRunId: id, By: by},
	}})
	if err != nil {
		return nil, err
	}
	out := &compat.RefreshTimeoutResponse{TimeoutAt: timestamppb.Now()}
	view := d.cfg.Backend.View()
	if run, ok := view.TaskRun(fsm.TaskRunID(id)); ok {
		out.TimeoutAt = timestamppb.New(time.Unix(0, view.Wall()).Add(run.ExecuteBy.Sub(view.Now())))
	}
	return out, nil
}

// ReleaseSlot gives the slots of a running task back while it goes on.
func (d *dispatcher) ReleaseSlot(ctx context.Context, r *compat.ReleaseSlotRequest) (*compat.ReleaseSlotResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("task_run_external_id", r.GetTaskRunExternalId())
	if err != nil {
		return nil, err
	}
	_, err = d.propose(ctx, "release the slots of task run "+id, &limpetv1.Command{Kind: &limpetv1.Command_ReleaseSlot{
		ReleaseSlot: &limpetv1.ReleaseSlot{TenantId: string(t), TaskRunId: id},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.ReleaseSlotResponse{}, nil
}

// PutOverridesData takes what an old development tool sends, and ignores it.
func (d *dispatcher) PutOverridesData(context.Context, *compat.OverridesData) (*compat.OverridesDataResponse, error) {
	return &compat.OverridesDataResponse{}, nil
}
