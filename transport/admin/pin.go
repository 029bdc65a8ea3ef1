package admin

import (
	"context"
	"iter"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// ListPins lists the pins of live runs.
func (s *Service) ListPins(ctx context.Context, r *limpetv1.ListPinsRequest) (*limpetv1.ListPinsResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v := s.view()
	pins := v.Pins()
	if r.GetWorker() != "" {
		w, err := findWorker(v, tenant, r.GetWorker())
		if err != nil {
			return nil, err
		}
		pins = v.PinsOf(w.ID)
	}
	return takePins(v, tenant, pins, int(r.GetLimit())), nil
}

func takePins(v fsm.View, tenant fsm.TenantID, pins iter.Seq[*fsm.Pin], limit int) *limpetv1.ListPinsResponse {
	const most = 10000
	if limit <= 0 || limit > most {
		limit = most
	}
	out := &limpetv1.ListPinsResponse{}
	for p := range pins {
		if p.Tenant != tenant {
			continue
		}
		if len(out.GetPins()) == limit {
			out.More = true
			break
		}
		out.Pins = append(out.Pins, pinInfo(v, p))
	}
	return out
}

// ReleaseRunPin clears a pin, so that the run's next assignment sets it anew.
func (s *Service) ReleaseRunPin(ctx context.Context, r *limpetv1.ReleaseRunPinRequest) (*limpetv1.ReleaseRunPinResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := needReason(r.GetReason()); err != nil {
		return nil, err
	}
	run, err := findRun(s.view(), tenant, r.GetRunId())
	if err != nil {
		return nil, err
	}
	_, err = s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{ReleasePin: &limpetv1.ReleasePin{
		TenantId: string(tenant), RunId: string(run.ID), Reason: r.GetReason(), Actor: actor(ctx),
	}}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.ReleaseRunPinResponse{RunId: string(run.ID)}, nil
}

// MoveRunPin gives a run, as it stands, to another worker.
func (s *Service) MoveRunPin(ctx context.Context, r *limpetv1.MoveRunPinRequest) (*limpetv1.MoveRunPinResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v := s.view()
	run, err := findRun(v, tenant, r.GetRunId())
	if err != nil {
		return nil, err
	}
	if r.GetWorker() == "" {
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "worker", Want: "must name the worker that gets the run", Hint: candidates(v, run)}
	}
	if err := needReason(r.GetReason()); err != nil {
		return nil, err
	}
	w, err := findWorker(v, tenant, r.GetWorker())
	if err != nil {
		return nil, err
	}
	_, err = s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_MovePin{MovePin: &limpetv1.MovePin{
		TenantId: string(tenant), RunId: string(run.ID), WorkerId: string(w.ID), Reason: r.GetReason(), Actor: actor(ctx),
	}}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.MoveRunPinResponse{RunId: string(run.ID), WorkerId: string(w.ID)}, nil
}

// candidates says which workers a run could be moved to.
func candidates(v fsm.View, run *fsm.Run) string {
	var names []string
	pin, _ := v.Pin(run.ID)
	for w := range v.Workers() {
		if pin != nil && pin.Worker == w.ID {
			continue
		}
		if v.CanTake(run, w) {
			names = append(names, w.Name+" ("+string(w.ID)+")")
		}
	}
	if len(names) == 0 {
		return "no other worker that is live and active has registered what the run needs"
	}
	return "these would do: " + enough(names)
}

func needReason(text string) error {
	if strings.TrimSpace(text) != "" {
		return nil
	}
	return &fsm.Refusal{Code: fsm.CodeInvalid, Field: "reason", Want: "must say why", Hint: "it may cost the run its state"}
}
