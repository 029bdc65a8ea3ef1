package transport

import (
	"context"

	"github.com/limpet-dev/limpet/fsm"
)

// maxPastLookups bounds the ids of one call that are looked up in the history.
const maxPastLookups = 100

// Past finds a tenant's run that the state has forgotten, by its id or by that
// of a task run, and gives a view in which it can be read. The record is nil
// when there is none.
func Past(ctx context.Context, b Backend, tenant fsm.TenantID, id string) (fsm.View, *fsm.Archived, error) {
	view := b.View()
	a, err := b.Past(ctx, id)
	if err != nil {
		return view, nil, Unavailable("the history cannot be searched for run %q: %v", id, err)
	}
	if a == nil || a.Run.Tenant != tenant {
		return view, nil, nil
	}
	return view.Past(a), a, nil
}

// PastRefusal says of a run that a command did not find that it has ended and is
// in the history, if that is so. Any other refusal stays as it is.
func PastRefusal(ctx context.Context, b Backend, tenant fsm.TenantID, no *fsm.Refusal) *fsm.Refusal {
	if no == nil || no.Code != fsm.CodeNotFound || !fsm.ValidUUID(no.Got) {
		return no
	}
	_, a, err := Past(ctx, b, tenant, no.Got)
	if err != nil || a == nil {
		return no
	}
	return &fsm.Refusal{
		Code: fsm.CodeConflict, Field: no.Field, Got: no.Got,
		Want: "the run ended " + a.Run.Status.String() + " and is in the history: it can be read, and no longer be changed or replayed",
		Hint: "start its workflow again with the same input, as with `limpet run trigger`",
	}
}

// WithoutPast leaves out the ids of runs that have ended and are in the history:
// of these there is nothing to cancel.
func WithoutPast(ctx context.Context, b Backend, tenant fsm.TenantID, ids []string) []string {
	view, looked := b.View(), 0
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		_, run := view.Run(fsm.RunID(id))
		_, task := view.TaskRun(fsm.TaskRunID(id))
		if !run && !task && looked < maxPastLookups {
			looked++
			if _, a, err := Past(ctx, b, tenant, id); err == nil && a != nil {
				continue
			}
		}
		out = append(out, id)
	}
	return out
}
