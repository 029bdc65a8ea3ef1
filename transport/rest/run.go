package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

type runDetails struct {
	Run    runAnswer     `json:"run"`
	Events []taskEvent   `json:"taskEvents"`
	Shape  []shapeItem   `json:"shape"`
	Tasks  []taskSummary `json:"tasks"`
}

type runAnswer struct {
	Metadata    resourceMeta    `json:"metadata"`
	Status      string          `json:"status"`
	StartedAt   *time.Time      `json:"startedAt,omitempty"`
	FinishedAt  *time.Time      `json:"finishedAt,omitempty"`
	Duration    *int64          `json:"duration,omitempty"` // milliseconds
	Tenant      string          `json:"tenantId"`
	Extra       json.RawMessage `json:"additionalMetadata"`
	DisplayName string          `json:"displayName"`
	Workflow    string          `json:"workflowId"`
	Version     string          `json:"workflowVersionId"`
	Input       json.RawMessage `json:"input"`
	Output      json.RawMessage `json:"output"`
	Error       string          `json:"errorMessage,omitempty"`
	CreatedAt   time.Time       `json:"createdAt"`
	Parent      string          `json:"parentTaskExternalId,omitempty"`
}

// shapeItem is a task run's place among the others.
type shapeItem struct {
	TaskRun  string   `json:"taskExternalId"`
	Task     string   `json:"stepId"`
	Children []string `json:"childrenStepIds"`
	Name     string   `json:"taskName"`
}

// taskEvent is a step in the life of a task run's latest attempt.
type taskEvent struct {
	Number  int       `json:"id"`
	TaskRun string    `json:"taskId"`
	At      time.Time `json:"timestamp"`
	Kind    string    `json:"eventType"`
	Message string    `json:"message"`
	Error   string    `json:"errorMessage,omitempty"`
	Output  string    `json:"output,omitempty"`
	Worker  string    `json:"workerId,omitempty"`
	Name    string    `json:"taskDisplayName"`
	Retry   int32     `json:"retryCount"`
	Attempt int32     `json:"attempt"`
}

func (s *server) runStatus(r *http.Request, tenant fsm.TenantID) (any, error) {
	_, run, err := s.findRun(r, tenant)
	if err != nil {
		return nil, err
	}
	return statusWord(run.Status), nil
}

func (s *server) run(r *http.Request, tenant fsm.TenantID) (any, error) {
	view, run, err := s.findRun(r, tenant)
	if err != nil {
		return nil, err
	}
	return describeRun(view, run), nil
}

// findRun finds the run that the path names, in the state or in the history, and
// the view in which it is.
func (s *server) findRun(r *http.Request, tenant fsm.TenantID) (fsm.View, *fsm.Run, error) {
	id, err := checkID("run", r.PathValue("run"))
	if err != nil {
		return fsm.View{}, nil, err
	}
	var view fsm.View
	run, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Run, bool) {
		view = v
		run, ok := v.Run(fsm.RunID(id))
		return run, ok && run.Tenant == tenant
	})
	if err == nil && !ok {
		var a *fsm.Archived
		if view, a, err = transport.Past(r.Context(), s.Backend, tenant, id); a != nil && a.Run.ID == fsm.RunID(id) {
			return view, a.Run, nil
		}
	}
	if err != nil {
		return view, nil, err
	}
	if !ok {
		return view, nil, refusal(fsm.CodeNotFound, "run", id, "workflow run not found",
			"check the id; finished runs are kept for a limited time")
	}
	return view, run, nil
}

// describeRun tells all of a run.
func describeRun(view fsm.View, run *fsm.Run) runDetails {
	d := newDescriber(view, true, run)
	out := runDetails{Run: d.runAnswer(run), Events: []taskEvent{}, Shape: d.shape(run), Tasks: []taskSummary{}}
	for _, t := range d.tasks(run) {
		out.Tasks = append(out.Tasks, d.task(run, t))
		out.Events = append(out.Events, d.events(t)...)
	}
	for i := range out.Events {
		out.Events[i].Number = i + 1
	}
	return out
}

func (d *describer) runAnswer(run *fsm.Run) runAnswer {
	out := runAnswer{
		Metadata: meta(string(run.ID), run.CreatedWall, max(run.StartedWall, run.FinishedWall)),
		Status:   statusWord(run.Status), Tenant: string(run.Tenant), Extra: object(run.Metadata), DisplayName: d.name(run),
		Workflow: string(run.Workflow), Version: string(run.Version), Input: object(run.Input), Output: d.outputOf(run),
		Error: d.errorOf(run), CreatedAt: time.Unix(0, run.CreatedWall).UTC(), Parent: string(run.ParentTaskRun),
	}
	out.StartedAt, out.FinishedAt, out.Duration = span(run.StartedWall, run.FinishedWall)
	return out
}

func (d *describer) shape(run *fsm.Run) []shapeItem {
	out := []shapeItem{}
	version, ok := d.view.Version(run.Version)
	if !ok {
		return out
	}
	for _, t := range d.tasks(run) {
		def := &version.Tasks[t.Index]
		item := shapeItem{TaskRun: string(t.ID), Task: definitionID(version.ID, def.Name), Children: []string{}, Name: def.Name}
		for _, i := range def.Children {
			item.Children = append(item.Children, definitionID(version.ID, version.Tasks[i].Name))
		}
		out = append(out, item)
	}
	return out
}

// events tells what has happened to a task run, in order. What earlier attempts
// went through is not kept.
func (d *describer) events(t *fsm.TaskRun) []taskEvent {
	var out []taskEvent
	add := func(wall int64, kind, message string) *taskEvent {
		if wall == 0 {
			return &taskEvent{}
		}
		out = append(out, taskEvent{
			TaskRun: string(t.ID), At: time.Unix(0, wall).UTC(), Kind: kind, Message: message,
			Name: d.view.Task(t).Name, Retry: t.Attempt, Attempt: t.Attempt + 1,
		})
		return &out[len(out)-1]
	}
	add(t.QueuedWall, "QUEUED", "waits for a worker")
	add(t.AssignedWall, "ASSIGNED", "given to a worker").Worker = string(t.Worker)
	add(t.StartedWall, "STARTED", "the worker has started it").Worker = string(t.Worker)
	switch t.Status {
	case fsm.Completed:
		add(t.FinishedWall, "FINISHED", "completed").Output = string(t.Output)
	case fsm.Failed:
		add(t.FinishedWall, "FAILED", "failed").Error = errorText(t)
	case fsm.Cancelled:
		add(t.FinishedWall, "CANCELLED", "cancelled").Error = errorText(t)
	case fsm.Skipped:
		add(t.FinishedWall, "SKIPPED", "not needed")
	case fsm.Backoff:
		add(latest(t), "RETRYING", "failed and waits for its next attempt").Error = t.Error
	case fsm.Blocked, fsm.Queued, fsm.Assigned, fsm.Running:
	}
	return out
}
