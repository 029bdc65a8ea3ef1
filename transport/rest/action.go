package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

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
	for at := 0; at < len(ids); at += idBatch {
		res, err := s.propose(ctx, what, command(ids[at:min(at+idBatch, len(ids))]))
		if no, ok := errors.AsType[*fsm.Refusal](err); ok {
			if past := transport.PastRefusal(ctx, s.Backend, tenant, no); past != no {
				err = past
			}
		}
		if err != nil {
			return nil, afterSome(err, what, ids, at, len(out.IDs))
		}
		out.IDs = append(out.IDs, res.IDs...)
	}
	return out, nil
}

// afterSome says of an error with the batch that begins at an id what was done
// before it: the error alone would say that nothing was, and a replay that is
// repeated as a whole starts again what has ended meanwhile.
func afterSome(err error, what string, ids []string, at, acted int) error {
	if at == 0 {
		return err
	}
	done := fmt.Sprintf("the first %d of %d ids were done, with %d task runs; the other %d, from %q on, were not", at, len(ids), acted, len(ids)-at, ids[at])
	todo := "then send only the ids that were not done"
	if what == "cancel" {
		todo = "then send the same again: what has ended stays as it is"
	}
	no, ok := errors.AsType[*fsm.Refusal](err)
	if !ok {
		return unavailable("%s, or not for certain: %v; try again in a second, %s", done, err, todo)
	}
	some := *no
	some.Want = no.Want + ": that is of the rest: " + done
	if no.Code == fsm.CodeExhausted {
		some.Want = done + ": the cluster has too much to do"
	}
	some.Hint = strings.TrimPrefix(no.Hint+"; "+todo, "; ")
	return transport.Later(&some, transport.RetryAfter(err))
}
