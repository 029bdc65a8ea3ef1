package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// idBatch is how many ids go into one command.
const idBatch = 1000

// actionRequest says on which runs and task runs to act.
type actionRequest struct {
	IDs    []string       `json:"externalIds"`
	Filter *filterRequest `json:"filter"`
}

// actionAnswer names the task runs that were acted on.
type actionAnswer struct {
	IDs []string `json:"ids"`
}

// cancelTasks cancels runs and task runs, by id or by a filter over runs that
// are not final, and gives the task runs that it ended.
func (s *server) cancelTasks(r *http.Request, tenant fsm.TenantID) (any, error) {
	ids, err := s.targets(r, tenant, (*runFilter).open)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	return s.inBatches(ctx, tenant, "cancel", ids, func(batch []string) fsm.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{
			CancelTasks: &limpetv1.CancelTasks{
				TenantId: string(tenant), Ids: transport.WithoutPast(ctx, s.Backend, tenant, batch), Reason: "cancelled by request", Actor: operatorOrNone(r),
			},
		}}
	})
}

// replayTasks runs task runs again, by id or by a filter over runs, and gives
// those that start anew. A filter that names no states selects final runs.
func (s *server) replayTasks(r *http.Request, tenant fsm.TenantID) (any, error) {
	ids, err := s.targets(r, tenant, (*runFilter).ended)
	if err != nil {
		return nil, err
	}
	return s.inBatches(r.Context(), tenant, "replay", ids, func(batch []string) fsm.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{
			ReplayTasks: &limpetv1.ReplayTasks{TenantId: string(tenant), Ids: batch, Actor: operatorOrNone(r)},
		}}
	})
}

// targets reads on what to act.
func (s *server) targets(r *http.Request, tenant fsm.TenantID, chosen func(*runFilter, fsm.View, fsm.TenantID) []string) ([]string, error) {
	var in actionRequest
	if err := s.decode(r, &in); err != nil {
		return nil, err
	}
	if in.Filter == nil && len(in.IDs) == 0 {
		return nil, invalid("externalIds", "", "must name at least one run or task run", "or pass a filter")
	}
	ids, err := parseIDs[string]("externalIds", in.IDs)
	if err != nil || in.Filter == nil {
		return ids, err
	}
	f, err := bodyFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	// The caller may mean a run that it has just started at another node.
	if err := s.current(r.Context()); err != nil {
		return nil, err
	}
	return append(ids, chosen(f, s.Backend.View(), tenant)...), nil
}

// inBatches proposes a command for each batch of ids.
func (s *server) inBatches(
	ctx context.Context, tenant fsm.TenantID, what string, ids []string, command func([]string) fsm.Command,
) (any, error) {
	out := actionAnswer{IDs: []string{}}
	for batch := range slices.Chunk(ids, idBatch) {
		res, err := s.propose(ctx, what, command(batch))
		if no, ok := errors.AsType[*fsm.Refusal](err); ok {
			return nil, transport.PastRefusal(ctx, s.Backend, tenant, no)
		}
		if err != nil {
			return nil, err
		}
		out.IDs = append(out.IDs, res.IDs...)
	}
	return out, nil
}
