package rest

import (
	"net/http"
	"strings"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
)

// This file is what an operator does over HTTP; the command line does the same
// over gRPC.

// maxBlockers is how much of what a drain waits for is told.
const maxBlockers = 100

type drainRequest struct {
	// Deadline is a time from now on, as "10m"; empty for none.
	Deadline string `json:"deadline"`
	Reason   string `json:"reason"`
}

type drainAnswer struct {
	Worker  string `json:"workerId"`
	Mode    string `json:"mode"`
	Drained bool   `json:"drained"`
	// Deadline and ETA are seconds from now on; none is left out.
	Deadline *float64      `json:"deadlineSeconds,omitempty"`
	ETA      *float64      `json:"etaSeconds,omitempty"`
	Blockers []blockerItem `json:"blockers"`
}

// blockerItem is what a draining worker waits for. A run that is pinned HARD and
// has no task at the worker now has no taskRunId.
type blockerItem struct {
	Run      string   `json:"workflowRunId"`
	Workflow string   `json:"workflowName"`
	TaskRun  string   `json:"taskRunId,omitempty"`
	Task     string   `json:"taskName,omitempty"`
	Status   string   `json:"status"`
	EndsIn   *float64 `json:"endsInSeconds,omitempty"`
}

type pinRequest struct {
	Worker string `json:"workerId"`
	Reason string `json:"reason"`

	actor string
}

type pinAnswer struct {
	Run    string `json:"workflowRunId"`
	Worker string `json:"workerId,omitempty"` // none after a release
}

type auditList struct {
	Rows []auditItem `json:"rows"`
}

type auditItem struct {
	Number uint64    `json:"id"`
	At     time.Time `json:"timestamp"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Target string    `json:"target"`
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// operator lets only tokens of role admin pass, and names them for the audit.
func operator(r *http.Request) (actor string, err error) {
	c, ok := auth.FromContext(r.Context())
	if !ok {
		return "", &auth.Error{Kind: auth.Unauthenticated, Text: "the call carries no token"}
	}
	return "token " + c.TokenID, c.Require(auth.RoleAdmin)
}

// operatorOrNone names the caller for the audit if it is an operator: what SDKs do
// with tokens of their own is not kept there.
func operatorOrNone(r *http.Request) string {
	actor, err := operator(r)
	if err != nil {
		return ""
	}
	return actor
}

// drain gives a worker nothing new and lets it finish.
func (s *server) drain(r *http.Request, tenant fsm.TenantID) (any, error) {
	actor, err := operator(r)
	if err != nil {
		return nil, err
	}
	var in drainRequest
	if err := s.decode(r, &in); err != nil {
		return nil, err
	}
	var deadline time.Duration
	if in.Deadline != "" {
		if deadline, err = time.ParseDuration(in.Deadline); err != nil || deadline <= 0 {
			return nil, invalid("deadline", in.Deadline, "must be a positive time like 90s or 10m", "leave it out for none")
		}
	}
	return s.setMode(r, tenant, &limpetv1.SetWorkerMode{
		Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING, Deadline: int64(deadline), Reason: in.Reason, Actor: actor,
	})
}

// resume makes a paused or draining worker active again.
func (s *server) resume(r *http.Request, tenant fsm.TenantID) (any, error) {
	actor, err := operator(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := s.decode(r, &in); err != nil {
		return nil, err
	}
	return s.setMode(r, tenant, &limpetv1.SetWorkerMode{Mode: limpetv1.WorkerMode_WORKER_MODE_ACTIVE, Reason: in.Reason, Actor: actor})
}

func (s *server) setMode(r *http.Request, tenant fsm.TenantID, c *limpetv1.SetWorkerMode) (any, error) {
	w, err := s.findWorker(r, tenant)
	if err != nil {
		return nil, err
	}
	c.TenantId, c.WorkerId = string(tenant), string(w.ID)
	_, err = s.propose(r.Context(), "set the mode of worker "+string(w.ID), &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: c}})
	if err != nil {
		return nil, err
	}
	return s.drainState(r, tenant)
}

// drainState says how far a drain is.
func (s *server) drainState(r *http.Request, tenant fsm.TenantID) (any, error) {
	w, err := s.findWorker(r, tenant)
	if err != nil {
		return nil, err
	}
	out := drainAnswer{Worker: string(w.ID), Mode: w.Mode.String(), Blockers: []blockerItem{}}
	if w.Mode != fsm.ModeDraining {
		return out, nil
	}
	d := transport.DrainInfo(s.Backend.View(), w, maxBlockers)
	out.Drained, out.Deadline, out.ETA = d.GetDrained(), known(d.GetDeadlineSeconds()), known(d.GetEtaSeconds())
	for _, b := range d.GetBlockers() {
		out.Blockers = append(out.Blockers, blockerItem{
			Run: b.GetRunId(), Workflow: b.GetWorkflow(), TaskRun: b.GetTaskRunId(), Task: b.GetTask(), Status: b.GetStatus(), EndsIn: known(b.GetEndsInSeconds()),
		})
	}
	return out, nil
}

func known(seconds float64) *float64 {
	if seconds < 0 {
		return nil
	}
	return &seconds
}

// releasePin clears a pin, so that the run's next assignment sets it anew.
func (s *server) releasePin(r *http.Request, tenant fsm.TenantID) (any, error) {
	in, run, err := s.pinCall(r, tenant)
	if err != nil {
		return nil, err
	}
	_, err = s.propose(r.Context(), "release the pin of run "+string(run.ID), &limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{
		ReleasePin: &limpetv1.ReleasePin{TenantId: string(tenant), RunId: string(run.ID), Reason: in.Reason, Actor: in.actor},
	}})
	if err != nil {
		return nil, err
	}
	return pinAnswer{Run: string(run.ID)}, nil
}

// movePin gives a run, as it stands, to another worker.
func (s *server) movePin(r *http.Request, tenant fsm.TenantID) (any, error) {
	in, run, err := s.pinCall(r, tenant)
	if err != nil {
		return nil, err
	}
	worker, err := checkID("workerId", in.Worker)
	if err != nil {
		return nil, err
	}
	_, err = s.propose(r.Context(), "move the pin of run "+string(run.ID), &limpetv1.Command{Kind: &limpetv1.Command_MovePin{
		MovePin: &limpetv1.MovePin{TenantId: string(tenant), RunId: string(run.ID), WorkerId: worker, Reason: in.Reason, Actor: in.actor},
	}})
	if err != nil {
		return nil, err
	}
	return pinAnswer{Run: string(run.ID), Worker: worker}, nil
}

func (s *server) pinCall(r *http.Request, tenant fsm.TenantID) (in pinRequest, run *fsm.Run, err error) {
	actor, err := operator(r)
	if err != nil {
		return in, nil, err
	}
	if err = s.decode(r, &in); err != nil {
		return in, nil, err
	}
	in.actor = actor
	if strings.TrimSpace(in.Reason) == "" {
		return in, nil, invalid("reason", in.Reason, "must say why", "it may cost the run its state")
	}
	_, run, err = s.findRun(r, tenant)
	return in, run, err
}

// audit tells what operators did, newest first.
func (s *server) audit(r *http.Request, tenant fsm.TenantID) (any, error) {
	if _, err := operator(r); err != nil {
		return nil, err
	}
	q := newQuery(r)
	limit, _ := q.page(pageRows)
	if q.err != nil {
		return nil, q.err
	}
	out := auditList{Rows: []auditItem{}}
	for _, a := range s.Backend.View().Audits(tenant, limit) {
		out.Rows = append(out.Rows, auditItem{
			Number: uint64(a.Seq), At: time.Unix(0, a.Wall).UTC(), Actor: a.Actor, Action: a.Action, Target: a.Target, From: a.From, To: a.To, Reason: a.Reason,
		})
	}
	return out, nil
}
