package rest

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/session"
)

// The two kinds of workflow that SDKs know.
const (
	kindDAG  = "DAG"
	kindTask = "TASK"
)

// taskSummary is a task run, or a row of a list that stands for a whole run.
type taskSummary struct {
	Metadata     resourceMeta    `json:"metadata"`
	Action       string          `json:"actionId,omitempty"`
	Retry        *int32          `json:"retryCount,omitempty"`
	Attempt      *int32          `json:"attempt,omitempty"`
	Extra        json.RawMessage `json:"additionalMetadata"`
	CreatedAt    time.Time       `json:"createdAt"`
	DisplayName  string          `json:"displayName"`
	Duration     *int64          `json:"duration,omitempty"` // milliseconds
	Error        string          `json:"errorMessage,omitempty"`
	StartedAt    *time.Time      `json:"startedAt,omitempty"`
	FinishedAt   *time.Time      `json:"finishedAt,omitempty"`
	Input        json.RawMessage `json:"input"`
	Output       json.RawMessage `json:"output"`
	Spawned      int             `json:"numSpawnedChildren"`
	Status       string          `json:"status"`
	Task         string          `json:"stepId,omitempty"`
	ID           string          `json:"taskExternalId"`
	Number       int64           `json:"taskId"`
	InsertedAt   time.Time       `json:"taskInsertedAt"`
	Tenant       string          `json:"tenantId"`
	Kind         string          `json:"type"`
	Workflow     string          `json:"workflowId"`
	WorkflowName string          `json:"workflowName"`
	Run          string          `json:"workflowRunExternalId"`
	Version      string          `json:"workflowVersionId"`
	Parent       string          `json:"parentTaskExternalId,omitempty"`
}

// describer turns runs and task runs of one view into answers.
type describer struct {
	view     fsm.View
	payloads bool // with inputs and outputs
	spawned  map[fsm.TaskRunID]int
}

// newDescriber makes a describer for these runs. It looks once at all runs to
// count the children of theirs.
func newDescriber(view fsm.View, payloads bool, runs ...*fsm.Run) *describer {
	d := &describer{view: view, payloads: payloads, spawned: map[fsm.TaskRunID]int{}}
	for _, run := range runs {
		for _, id := range run.Tasks {
			d.spawned[id] = 0
		}
	}
	for run := range view.Runs(false) {
		if n, ok := d.spawned[run.ParentTaskRun]; ok {
			d.spawned[run.ParentTaskRun] = n + 1
		}
	}
	return d
}

// task describes a task run.
func (d *describer) task(run *fsm.Run, t *fsm.TaskRun) taskSummary {
	def := d.view.Task(t)
	out := d.head(run, string(t.ID), t.Index)
	out.Metadata = meta(string(t.ID), run.CreatedWall, latest(t))
	out.Action, out.Task, out.DisplayName, out.Kind = def.Action, definitionID(t.Version, def.Name), def.Name, kindTask
	out.Retry, out.Attempt = new(t.Attempt), new(t.Attempt+1)
	out.Status, out.Error, out.Spawned = statusWord(t.Status), errorText(t), d.spawned[t.ID]
	out.StartedAt, out.FinishedAt, out.Duration = span(t.StartedWall, t.FinishedWall)
	if d.payloads {
		out.Input, out.Output = object(run.Input), object(output(t))
	}
	return out
}

// run describes a whole run as one row.
func (d *describer) run(run *fsm.Run) taskSummary {
	if tasks := d.tasks(run); len(run.Tasks) == 1 && len(tasks) == 1 {
		return d.task(run, tasks[0])
	}
	out := d.head(run, string(run.ID), 0)
	out.Metadata = meta(string(run.ID), run.CreatedWall, max(run.StartedWall, run.FinishedWall))
	out.DisplayName, out.Kind = out.WorkflowName, kindDAG
	out.Status, out.Error = statusWord(run.Status), d.errorOf(run)
	for _, id := range run.Tasks {
		out.Spawned += d.spawned[id]
	}
	out.StartedAt, out.FinishedAt, out.Duration = span(run.StartedWall, run.FinishedWall)
	if d.payloads {
		out.Input, out.Output = object(run.Input), d.outputOf(run)
	}
	return out
}

// head fills in what a task run has from its run.
func (d *describer) head(run *fsm.Run, id string, index int) taskSummary {
	created := time.Unix(0, run.CreatedWall).UTC()
	return taskSummary{
		ID: id, Number: number(run, index), CreatedAt: created, InsertedAt: created, Tenant: string(run.Tenant),
		Workflow: string(run.Workflow), WorkflowName: d.name(run), Run: string(run.ID), Version: string(run.Version),
		Parent: string(run.ParentTaskRun), Extra: object(run.Metadata), Input: object(nil), Output: object(nil),
	}
}

// name is the name of a run's workflow.
func (d *describer) name(run *fsm.Run) string {
	if v, ok := d.view.Version(run.Version); ok {
		return v.Name
	}
	return ""
}

// tasks gives the task runs of a run, in the order of their definition.
func (d *describer) tasks(run *fsm.Run) []*fsm.TaskRun {
	var out []*fsm.TaskRun
	for _, id := range run.Tasks {
		if t, ok := d.view.TaskRun(id); ok {
			out = append(out, t)
		}
	}
	return out
}

// results gives the task runs that are part of a run's result: an on-failure
// task that was not needed is none.
func (d *describer) results(run *fsm.Run) []*fsm.TaskRun {
	var out []*fsm.TaskRun
	version, ok := d.view.Version(run.Version)
	for _, t := range d.tasks(run) {
		if !ok || t.Index != version.OnFailure || t.Status != fsm.Skipped {
			out = append(out, t)
		}
	}
	return out
}

// outputOf gives the output of a run: that of its only task, or those of all
// by the name of the task.
func (d *describer) outputOf(run *fsm.Run) json.RawMessage {
	results := d.results(run)
	if len(run.Tasks) == 1 && len(results) == 1 {
		return object(output(results[0]))
	}
	all := map[string]json.RawMessage{}
	for _, t := range results {
		if t.Status == fsm.Completed || t.Status == fsm.Skipped {
			all[d.view.Task(t).Name] = jsonText(output(t))
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return object(nil) // cannot be: each value is valid JSON
	}
	return text
}

// errorOf gives what went wrong in a run; of several tasks with their names.
func (d *describer) errorOf(run *fsm.Run) string {
	var texts []string
	for _, t := range d.tasks(run) {
		text := errorText(t)
		if text != "" && len(run.Tasks) > 1 {
			text = d.view.Task(t).Name + ": " + text
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

// errorText is never empty for a task run that failed or was cancelled.
func errorText(t *fsm.TaskRun) string {
	switch {
	case t.Status != fsm.Failed && t.Status != fsm.Cancelled:
		return ""
	case t.Error != "":
		return t.Error
	case t.Status == fsm.Cancelled:
		return "the task was cancelled"
	default:
		return "the task failed without an error text"
	}
}

func output(t *fsm.TaskRun) []byte {
	if len(t.Output) == 0 && t.Status == fsm.Skipped {
		return []byte(session.SkippedOutput)
	}
	return t.Output
}

// statusWord puts a state into the SDKs' five words. They have none for waiting
// on parents, for the pause before a retry, or for skipped.
func statusWord(status fsm.Status) string {
	switch status {
	case fsm.Completed, fsm.Skipped:
		return "COMPLETED"
	case fsm.Failed:
		return "FAILED"
	case fsm.Cancelled:
		return "CANCELLED"
	case fsm.Running:
		return "RUNNING"
	case fsm.Queued, fsm.Blocked, fsm.Assigned, fsm.Backoff:
	}
	return "QUEUED"
}

// object gives a payload as the JSON object that typed clients want: what is
// none stands in one, as its value.
func object(payload []byte) json.RawMessage {
	text := jsonText(payload)
	if text[0] == '{' {
		return text
	}
	return json.RawMessage(`{"value":` + string(text) + `}`)
}

// jsonText gives a payload as JSON: {} for none, a string for what is not JSON.
func jsonText(payload []byte) json.RawMessage {
	text := bytes.TrimSpace(payload)
	switch {
	case len(text) == 0:
		return json.RawMessage("{}")
	case json.Valid(text):
		return text
	}
	quoted, err := json.Marshal(strings.ToValidUTF8(string(payload), "\uFFFD"))
	if err != nil {
		return json.RawMessage("{}") // cannot be: a string is always encoded
	}
	return quoted
}

// span gives the times of a beginning and an end, and the milliseconds between
// them; nil for what has not come.
func span(started, finished int64) (from, to *time.Time, took *int64) {
	from, to = at(started), at(finished)
	if from != nil && to != nil {
		took = new(max(0, to.Sub(*from).Milliseconds()))
	}
	return from, to, took
}

func at(wall int64) *time.Time {
	if wall == 0 {
		return nil
	}
	return new(time.Unix(0, wall).UTC())
}

// latest is when a task run last changed.
func latest(t *fsm.TaskRun) int64 {
	return max(t.QueuedWall, t.AssignedWall, t.StartedWall, t.FinishedWall)
}

// number makes up the number that typed clients want of a task run: always the
// same one, and small enough for a float.
func number(run *fsm.Run, index int) int64 {
	const perRun = 1 << 10
	return int64(run.Seq)*perRun + int64(index)
}

// definitionID makes up the id that typed clients want of a task of a version.
func definitionID(version fsm.VersionID, task string) string {
	space, err := uuid.Parse(string(version))
	if err != nil {
		space = uuid.Nil // cannot be: the node that takes the registration makes the id
	}
	return uuid.NewSHA1(space, []byte(task)).String()
}
