package rest

import (
	"fmt"
	"net/http"
	"slices"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// cancelBatch is how many ids go into one command.
const cancelBatch = 1000

type cancelRequest struct {
	IDs    []string        `json:"externalIds"`
	Filter *map[string]any `json:"filter"`
}

type cancelAnswer struct {
	IDs []string `json:"ids"`
}

func (s *server) runStatus(r *http.Request, tenant fsm.TenantID) (any, error) {
	id, err := checkID("run", r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	run, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Run, bool) {
		run, ok := v.Run(fsm.RunID(id))
		return run, ok && run.Tenant == tenant
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "run", id, "workflow run not found",
			"check the id; finished runs are kept for a limited time")
	}
	return runStatusWord(run.Status), nil
}

// runStatusWord puts a run's state into the SDKs' five words.
func runStatusWord(status fsm.Status) string {
	switch status {
	case fsm.Completed, fsm.Skipped:
		return "COMPLETED"
	case fsm.Failed:
		return "FAILED"
	case fsm.Cancelled:
		return "CANCELLED"
	case fsm.Running, fsm.Assigned, fsm.Backoff:
		return "RUNNING"
	case fsm.Queued, fsm.Blocked:
	}
	return "QUEUED"
}

// cancelTasks cancels runs and task runs by their ids, and gives the task runs
// that it ended.
func (s *server) cancelTasks(r *http.Request, tenant fsm.TenantID) (any, error) {
	var in cancelRequest
	if err := s.decode(r, &in); err != nil {
		return nil, err
	}
	if in.Filter != nil {
		return nil, refusal(fsm.CodeUnsupported, "filter", "", "cancelling by a filter is not served over HTTP",
			"pass externalIds, or cancel over gRPC")
	}
	if len(in.IDs) == 0 {
		return nil, invalid("externalIds", "", "must name at least one run or task run", "")
	}
	ids := make([]string, len(in.IDs))
	for i, text := range in.IDs {
		id, err := checkID(fmt.Sprintf("externalIds[%d]", i), text)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	out := cancelAnswer{IDs: []string{}}
	for batch := range slices.Chunk(ids, cancelBatch) {
		res, err := s.propose(r.Context(), "cancel", &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{
			CancelTasks: &limpetv1.CancelTasks{TenantId: string(tenant), Ids: batch, Reason: "cancelled by request"},
		}})
		if err != nil {
			return nil, err
		}
		out.IDs = append(out.IDs, res.IDs...)
	}
	return out, nil
}
