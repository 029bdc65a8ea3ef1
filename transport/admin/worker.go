package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// maxBlockers is how much of what a drain waits for is told.
const maxBlockers = 100

// ListWorkers lists the tenant's workers.
func (s *Service) ListWorkers(ctx context.Context, _ *limpetv1.ListWorkersRequest) (*limpetv1.ListWorkersResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v := s.view()
	out := &limpetv1.ListWorkersResponse{}
	for w := range v.Workers() {
		if w.Tenant == tenant {
			out.Workers = append(out.Workers, workerInfo(v, w))
		}
	}
	return out, nil
}

// GetWorker tells all of a worker.
func (s *Service) GetWorker(ctx context.Context, r *limpetv1.GetWorkerRequest) (*limpetv1.GetWorkerResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v := s.view()
	w, err := findWorker(v, tenant, r.GetWorker())
	if err != nil {
		return nil, err
	}
	pins := takePins(v, tenant, v.PinsOf(w.ID), maxBlockers)
	return &limpetv1.GetWorkerResponse{Worker: workerInfo(v, w), Drain: drainInfo(v, w), Pins: pins.GetPins(), MorePins: pins.GetMore()}, nil
}

// SetMode pauses, drains or resumes a worker. Said again of a worker that drains
// it may only bring the deadline nearer.
func (s *Service) SetMode(ctx context.Context, r *limpetv1.SetModeRequest) (*limpetv1.SetModeResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	draining := r.GetMode() == limpetv1.WorkerMode_WORKER_MODE_DRAINING
	switch d := time.Duration(r.GetDeadlineMs()) * time.Millisecond; {
	case d < 0:
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "deadline", Got: d.String(), Want: "must not be negative", Hint: "0 is for none"}
	case d > 0 && !draining:
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "deadline", Got: d.String(), Want: "is for drains only"}
	}
	w, err := findWorker(s.view(), tenant, r.GetWorker())
	if err != nil {
		return nil, err
	}
	_, err = s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
		TenantId: string(tenant), WorkerId: string(w.ID), Mode: r.GetMode(), Actor: actor(ctx), Reason: r.GetReason(),
		Deadline: int64(time.Duration(r.GetDeadlineMs()) * time.Millisecond),
	}}})
	if err != nil {
		return nil, err
	}
	out := &limpetv1.SetModeResponse{WorkerId: string(w.ID)}
	v := s.view()
	if w, ok := v.Worker(w.ID); ok {
		out.Drain = drainInfo(v, w)
	}
	return out, nil
}

// drainInfo is nil for a worker that does not drain.
func drainInfo(v fsm.View, w *fsm.Worker) *limpetv1.DrainInfo {
	if w.Mode != fsm.ModeDraining {
		return nil
	}
	return transport.DrainInfo(v, w, maxBlockers)
}

// findWorker looks a worker up by id, unique prefix of it, or name.
func findWorker(v fsm.View, tenant fsm.TenantID, id string) (*fsm.Worker, error) {
	if w, ok := v.Worker(fsm.WorkerID(id)); ok && w.Tenant == tenant {
		return w, nil
	}
	// A worker that is lost is meant only if no other is, and first one that was
	// drained or paused: that is to come back.
	var present, away, lost []*fsm.Worker
	for w := range v.Workers() {
		switch {
		case id == "" || w.Tenant != tenant || w.Name != id && !strings.HasPrefix(string(w.ID), id):
		case w.Lease.State != fsm.LeaseLost:
			present = append(present, w)
		case w.Mode != fsm.ModeActive:
			away = append(away, w)
		default:
			lost = append(lost, w)
		}
	}
	found := present
	if len(found) == 0 {
		found = away
	}
	if len(found) == 0 {
		found = lost
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, unknown("worker", id, "no such worker", "see `limpet worker list`")
	}
	ids := make([]string, len(found))
	for i, w := range found {
		ids[i] = string(w.ID)
	}
	return nil, &fsm.Refusal{
		Code: fsm.CodeInvalid, Field: "worker", Got: id, Want: "means several workers", Hint: "give the id of one: " + enough(ids),
	}
}

// enough joins a list for a sentence, and leaves out what is too much for one.
func enough(list []string) string {
	const most = 8
	if n := len(list) - most; n > 0 {
		return strings.Join(list[:most], ", ") + " and " + strconv.Itoa(n) + " more"
	}
	return strings.Join(list, ", ")
}
