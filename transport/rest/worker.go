package rest

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// mainSlots is the slot type that SDKs mean when they name none.
const mainSlots = "default"

type workerList struct {
	Rows       []workerAnswer `json:"rows"`
	Pagination pagination     `json:"pagination"`
}

type workerAnswer struct {
	Metadata resourceMeta `json:"metadata"`
	Name     string       `json:"name"`
	Type     string       `json:"type"`
	Status   string       `json:"status"`
	Actions  []string     `json:"actions"`
	Labels   []labelItem  `json:"labels"`
	Held     []heldItem   `json:"slots"`
	// Units are all slots by type; the two figures below are those of the type
	// that SDKs mean when they name none.
	Units     map[string]unitsItem `json:"slotConfig"`
	Max       int32                `json:"maxRuns"`
	Available int32                `json:"availableRuns"`
}

type labelItem struct {
	Metadata resourceMeta `json:"metadata"`
	Key      string       `json:"key"`
	Value    string       `json:"value"`
}

// heldItem is a task run that occupies slots of the worker.
type heldItem struct {
	TaskRun string     `json:"stepRunId"`
	Run     string     `json:"workflowRunId"`
	Action  string     `json:"actionId"`
	Started *time.Time `json:"startedAt,omitempty"`
}

type unitsItem struct {
	Available int32 `json:"available"`
	Limit     int32 `json:"limit"`
}

type workerPatch struct {
	Paused *bool `json:"isPaused"`
}

func (s *server) workers(_ *http.Request, tenant fsm.TenantID) (any, error) {
	view := s.Backend.View()
	out := workerList{Rows: []workerAnswer{}, Pagination: pagination{1, 1, 1}}
	for w := range view.Workers() {
		if w.Tenant == tenant {
			out.Rows = append(out.Rows, describeWorker(view, w))
		}
	}
	return out, nil
}

func (s *server) worker(r *http.Request, tenant fsm.TenantID) (any, error) {
	w, err := s.findWorker(r, tenant)
	if err != nil {
		return nil, err
	}
	return describeWorker(s.Backend.View(), w), nil
}

// patchWorker pauses a worker, as SDKs do when they stop, or lets it go on.
func (s *server) patchWorker(r *http.Request, tenant fsm.TenantID) (any, error) {
	var patch workerPatch
	if err := s.decode(r, &patch); err != nil {
		return nil, err
	}
	if patch.Paused == nil {
		return nil, invalid("isPaused", "", "must be given", `send {"isPaused":true} or {"isPaused":false}`)
	}
	w, err := s.findWorker(r, tenant)
	if err != nil {
		return nil, err
	}
	actor, err := operator(r)
	own := err != nil // without the role it is the worker that asks, and not an operator
	if own && !*patch.Paused && w.Mode == fsm.ModePaused && !w.OwnMode {
		return nil, refusal(fsm.CodeConflict, "isPaused", "false", "an operator has paused the worker", "`limpet worker resume` undoes it")
	}
	mode := limpetv1.WorkerMode_WORKER_MODE_ACTIVE
	if *patch.Paused && w.Mode == fsm.ModeDraining {
		return describeWorker(s.Backend.View(), w), nil // a drain takes nothing new either, and does more
	}
	if *patch.Paused {
		mode = limpetv1.WorkerMode_WORKER_MODE_PAUSED
	} else if w.Mode == fsm.ModeDraining {
		// An operator's drain is not undone by a worker's wish for work.
		return nil, refusal(fsm.CodeConflict, "isPaused", "false", "the worker is draining and takes nothing new",
			"start a new worker instead")
	}
	if _, err := s.propose(r.Context(), "pause or resume worker "+string(w.ID), &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{
		SetWorkerMode: &limpetv1.SetWorkerMode{
			TenantId: string(tenant), WorkerId: string(w.ID), Mode: mode, Actor: actor, ByWorker: own, Incarnation: r.Header.Get(limpetv1.HeaderIncarnation),
		},
	}}); err != nil {
		return nil, err
	}
	return s.worker(r, tenant)
}

// findWorker finds the worker that the path names.
func (s *server) findWorker(r *http.Request, tenant fsm.TenantID) (*fsm.Worker, error) {
	id, err := checkID("worker", r.PathValue("worker"))
	if err != nil {
		return nil, err
	}
	w, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Worker, bool) {
		w, ok := v.Worker(fsm.WorkerID(id))
		return w, ok && w.Tenant == tenant
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "worker", id, "no such worker is registered in this tenant", "see `limpet worker list`")
	}
	return w, nil
}

func describeWorker(view fsm.View, w *fsm.Worker) workerAnswer {
	out := workerAnswer{
		Metadata: meta(string(w.ID), w.RegisteredWall, w.Lease.SinceWall),
		Name:     w.Name, Type: "SELFHOSTED", Status: workerStatus(w),
		Actions: append([]string{}, w.Actions...), Labels: []labelItem{}, Held: []heldItem{}, Units: map[string]unitsItem{},
	}
	for i := range w.Labels {
		l := &w.Labels[i]
		out.Labels = append(out.Labels, labelItem{meta(labelID(w.ID, l.Key), w.RegisteredWall, w.RegisteredWall), l.Key, l.Value()})
	}
	for i := range w.Slots {
		units := unitsItem{Available: max(0, w.Slots[i].Units-w.Used[i].Units), Limit: w.Slots[i].Units}
		out.Units[w.Slots[i].Type] = units
		if w.Slots[i].Type == mainSlots {
			out.Max, out.Available = units.Limit, units.Available
		}
	}
	for t := range view.Assignments(w.ID) {
		item := heldItem{TaskRun: string(t.ID), Run: string(t.Run), Action: view.Task(t).Action}
		if t.Status == fsm.Running {
			item.Started = new(time.Unix(0, t.StartedWall).UTC())
		}
		out.Held = append(out.Held, item)
	}
	return out
}

// workerStatus puts lease and mode into the SDKs' three words. Without a
// session a worker is inactive, whatever its mode.
func workerStatus(w *fsm.Worker) string {
	switch {
	case w.Lease.State != fsm.LeaseLive:
		return "INACTIVE"
	case w.Mode != fsm.ModeActive:
		return "PAUSED"
	default:
		return "ACTIVE"
	}
}

// labelID makes up the id that typed clients want of a label: always the same
// one for a worker and a key.
func labelID(w fsm.WorkerID, key string) string {
	space, err := uuid.Parse(string(w))
	if err != nil {
		space = uuid.Nil // cannot be: the state machine checks worker ids
	}
	return uuid.NewSHA1(space, []byte(key)).String()
}
