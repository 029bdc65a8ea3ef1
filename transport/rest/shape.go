package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// runShape is a run in the form of an earlier protocol, which one SDK reads
// when a run finished and its event carried no results.
type runShape struct {
	Metadata    resourceMeta    `json:"metadata"`
	Tenant      string          `json:"tenantId"`
	Workflow    string          `json:"workflowId"`
	Version     string          `json:"workflowVersionId"`
	Status      string          `json:"status"`
	DisplayName string          `json:"displayName"`
	Jobs        []jobShape      `json:"jobRuns"`
	TriggeredBy triggerShape    `json:"triggeredBy"`
	Input       json.RawMessage `json:"input"`
	Error       string          `json:"error,omitempty"`
	StartedAt   *time.Time      `json:"startedAt,omitempty"`
	FinishedAt  *time.Time      `json:"finishedAt,omitempty"`
	Duration    *int64          `json:"duration,omitempty"` // milliseconds
	Extra       json.RawMessage `json:"additionalMetadata"`
	Parent      string          `json:"parentId,omitempty"`
	ParentTask  string          `json:"parentStepRunId,omitempty"`
}

type triggerShape struct {
	Metadata resourceMeta `json:"metadata"`
	Parent   string       `json:"parentWorkflowRunId,omitempty"`
}

// jobShape is the task runs of a run; each run has one.
type jobShape struct {
	Metadata   resourceMeta   `json:"metadata"`
	Tenant     string         `json:"tenantId"`
	Run        string         `json:"workflowRunId"`
	Job        string         `json:"jobId"`
	Definition jobAnswer      `json:"job"`
	TaskRuns   []taskRunShape `json:"stepRuns"`
	Status     string         `json:"status"`
	StartedAt  *time.Time     `json:"startedAt,omitempty"`
	FinishedAt *time.Time     `json:"finishedAt,omitempty"`
}

type taskRunShape struct {
	Metadata   resourceMeta `json:"metadata"`
	Tenant     string       `json:"tenantId"`
	Job        string       `json:"jobRunId"`
	Task       string       `json:"stepId"`
	Status     string       `json:"status"`
	Worker     string       `json:"workerId,omitempty"`
	Output     string       `json:"output,omitempty"` // JSON text
	Error      string       `json:"error,omitempty"`
	Cancelled  string       `json:"cancelledReason,omitempty"`
	StartedAt  *time.Time   `json:"startedAt,omitempty"`
	FinishedAt *time.Time   `json:"finishedAt,omitempty"`
}

// runShape gives the results of a run that do not fit into a message.
func (s *server) runShape(r *http.Request, tenant fsm.TenantID) (any, error) {
	view, run, err := s.findRun(r, tenant)
	if err != nil {
		return nil, err
	}
	version, ok := view.Version(run.Version)
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "run", string(run.ID), "the version of its workflow is not known", "")
	}
	d := newDescriber(view, true)
	head := meta(string(run.ID), run.CreatedWall, max(run.StartedWall, run.FinishedWall))
	out := runShape{
		Metadata: head, Tenant: string(run.Tenant), Workflow: string(run.Workflow), Version: string(run.Version),
		Status: shapeStatus(run.Status), DisplayName: version.Name, TriggeredBy: triggerShape{head, string(run.ParentRun)},
		Input: object(run.Input), Error: d.errorOf(run), Extra: object(run.Metadata),
		Parent: string(run.ParentRun), ParentTask: string(run.ParentTaskRun),
	}
	out.StartedAt, out.FinishedAt, out.Duration = span(run.StartedWall, run.FinishedWall)
	job := jobShape{
		Metadata: head, Tenant: out.Tenant, Run: string(run.ID), Definition: describeJob(version), TaskRuns: []taskRunShape{},
		Status: out.Status, StartedAt: out.StartedAt, FinishedAt: out.FinishedAt,
	}
	job.Job = job.Definition.Metadata.ID
	for _, t := range d.results(run) {
		job.TaskRuns = append(job.TaskRuns, d.taskRunShape(run, t))
	}
	out.Jobs = []jobShape{job}
	return out, nil
}

func (d *describer) taskRunShape(run *fsm.Run, t *fsm.TaskRun) taskRunShape {
	out := taskRunShape{
		Metadata: meta(string(t.ID), run.CreatedWall, latest(t)), Tenant: string(t.Tenant), Job: string(run.ID),
		Task: definitionID(t.Version, d.view.Task(t).Name), Status: shapeStatus(t.Status), Worker: string(t.Worker),
		Output: string(output(t)), Error: errorText(t),
	}
	if t.Status == fsm.Cancelled {
		out.Cancelled = out.Error
	}
	out.StartedAt, out.FinishedAt, _ = span(t.StartedWall, t.FinishedWall)
	return out
}

// shapeStatus puts a state into the words of the earlier protocol that runs and
// task runs share.
func shapeStatus(status fsm.Status) string {
	switch status {
	case fsm.Completed, fsm.Skipped:
		return "SUCCEEDED"
	case fsm.Failed:
		return "FAILED"
	case fsm.Cancelled:
		return "CANCELLED"
	case fsm.Running:
		return "RUNNING"
	case fsm.Backoff:
		return "BACKOFF"
	case fsm.Queued, fsm.Blocked, fsm.Assigned:
	}
	return "PENDING"
}
