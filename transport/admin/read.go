package admin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

const (
	defaultLimit = 50
	// maxPast is how far a list goes back into the history.
	maxPast = 10_000
)

// ListRuns lists the tenant's runs, newest first; then those in the history, the
// latest end first.
func (s *Service) ListRuns(ctx context.Context, r *limpetv1.ListRunsRequest) (*limpetv1.ListRunsResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkStatus(r.GetStatus()); err != nil {
		return nil, err
	}
	limit := int(r.GetLimit())
	if limit <= 0 {
		limit = defaultLimit
	}
	v := s.view()
	out := &limpetv1.ListRunsResponse{}
	// add says whether there is room for more.
	add := func(v fsm.View, run *fsm.Run) bool {
		info := runInfo(v, run)
		switch {
		case run.Tenant != tenant || !like(r.GetStatus(), info.GetStatus()) || !like(r.GetWorkflow(), info.GetWorkflow()):
		case len(out.GetRuns()) == limit:
			out.More = true
		default:
			out.Runs = append(out.Runs, info)
		}
		return !out.GetMore()
	}
	for run := range v.Runs(true) {
		if !add(v, run) {
			return out, nil
		}
	}
	looked := 0
	err = s.cfg.Backend.PastRuns(func(a *fsm.Archived) bool {
		if looked++; looked > maxPast {
			out.More = true
			return false
		}
		_, still := v.Run(a.Run.ID)
		return still || add(v.Past(a), a.Run)
	})
	if err != nil {
		return nil, transport.Unavailable("list runs: %v", err)
	}
	return out, nil
}

// checkStatus refuses what is no state of a run; empty is any.
func checkStatus(got string) error {
	var names []string
	for _, st := range []fsm.Status{fsm.Queued, fsm.Running, fsm.Completed, fsm.Failed, fsm.Cancelled} {
		if like(got, st.String()) {
			return nil
		}
		names = append(names, strings.ToLower(st.String()))
	}
	return &fsm.Refusal{Code: fsm.CodeInvalid, Field: "status", Got: got, Want: "must be one of " + strings.Join(names, ", ")}
}

func like(want, have string) bool { return want == "" || strings.EqualFold(want, have) }

// GetRun gives one run with its tasks.
func (s *Service) GetRun(ctx context.Context, r *limpetv1.GetRunRequest) (*limpetv1.GetRunResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	v, run, err := s.anyRun(ctx, tenant, r.GetId())
	if err != nil {
		return nil, err
	}
	return runDetails(v, run), nil
}

// anyRun finds a run in the state or, by its full id, in the history, and gives
// the view in which it is.
func (s *Service) anyRun(ctx context.Context, tenant fsm.TenantID, id string) (fsm.View, *fsm.Run, error) {
	v := s.view()
	run, err := findRun(v, tenant, id)
	if err == nil || !fsm.ValidUUID(id) {
		return v, run, err
	}
	past, a, lost := transport.Past(ctx, s.cfg.Backend, tenant, id)
	if lost != nil {
		return v, nil, lost
	}
	if a == nil || string(a.Run.ID) != id {
		return v, nil, err
	}
	return past, a.Run, nil
}

// WaitRun answers when the run is final, or when the call's time is over.
func (s *Service) WaitRun(ctx context.Context, r *limpetv1.GetRunRequest) (*limpetv1.GetRunResponse, error) {
	out, err := s.GetRun(ctx, r)
	if err != nil {
		return nil, err
	}
	id := fsm.RunID(out.GetRun().GetId())
	if _, live := s.view().Run(id); !live {
		return out, nil // it was found in the history
	}
	gate, err := s.cfg.Hub.Admit()
	if err != nil {
		return nil, err
	}
	watch := s.cfg.Hub.Watch()
	defer watch.Close()
	watch.Add(id)
	for {
		v := s.view()
		run, ok := v.Run(id)
		if !ok { // the caller was slow, and the run has gone to the history
			return s.GetRun(ctx, &limpetv1.GetRunRequest{Id: string(id)})
		}
		if run.Status.Final() {
			return runDetails(v, run), nil
		}
		select {
		case <-watch.C():
			watch.Changed()
		case <-gate.Done():
			return nil, gate.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// CancelRun cancels what is not final of a run.
func (s *Service) CancelRun(ctx context.Context, r *limpetv1.CancelRunRequest) (*limpetv1.CancelRunResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	run, err := s.changeable(ctx, tenant, r.GetId())
	if err != nil {
		return nil, err
	}
	res, err := s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{
		TenantId: string(tenant), Ids: []string{string(run.ID)}, Reason: "cancelled by an operator", Actor: actor(ctx),
	}}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.CancelRunResponse{TaskRuns: res.IDs}, nil
}

// ReplayRun runs all tasks of a run again.
func (s *Service) ReplayRun(ctx context.Context, r *limpetv1.ReplayRunRequest) (*limpetv1.ReplayRunResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	run, err := s.changeable(ctx, tenant, r.GetId())
	if err != nil {
		return nil, err
	}
	res, err := s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{
		TenantId: string(tenant), Ids: []string{string(run.ID)}, Actor: actor(ctx),
	}}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.ReplayRunResponse{TaskRuns: res.IDs}, nil
}

// changeable finds a run in the state. Of one in the history it says so.
func (s *Service) changeable(ctx context.Context, tenant fsm.TenantID, id string) (*fsm.Run, error) {
	run, err := findRun(s.view(), tenant, id)
	if no, ok := errors.AsType[*fsm.Refusal](err); ok {
		return nil, transport.PastRefusal(ctx, s.cfg.Backend, tenant, no)
	}
	return run, err
}

// findRun looks a run up by id or by a unique prefix of it.
func findRun(v fsm.View, tenant fsm.TenantID, id string) (*fsm.Run, error) {
	if r, ok := v.Run(fsm.RunID(id)); ok && r.Tenant == tenant {
		return r, nil
	}
	var found *fsm.Run
	for r := range v.Runs(true) {
		if id != "" && r.Tenant == tenant && strings.HasPrefix(string(r.ID), id) {
			if found != nil {
				return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "id", Got: id, Want: "is the beginning of several run ids", Hint: "give more of it"}
			}
			found = r
		}
	}
	if found == nil {
		return nil, unknown("id", id, "no such run", "see `limpet run list`")
	}
	return found, nil
}

func unknown(field, got, want, hint string) error {
	return &fsm.Refusal{Code: fsm.CodeNotFound, Field: field, Got: got, Want: want, Hint: hint}
}

func conflict(field, got string, err error) error {
	if no, ok := errors.AsType[*fsm.Refusal](err); ok {
		return no
	}
	return &fsm.Refusal{Code: fsm.CodeConflict, Field: field, Got: got, Want: err.Error()}
}

// jsonObject checks that the text is a JSON object; empty text is an empty one.
func jsonObject(field, text string) ([]byte, error) {
	if strings.TrimSpace(text) == "" {
		return []byte(`{}`), nil
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		hint := `for example {"key":"value"}`
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			hint = err.Error()
		}
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: field, Got: text, Want: "must be a JSON object", Hint: hint}
	}
	return []byte(text), nil
}
