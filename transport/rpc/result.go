package rpc

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/session"
)

// finished is the event that a run has finished, with a result per task.
func finished(view fsm.View, run *fsm.Run) *compat.WorkflowRunEvent {
	e := &compat.WorkflowRunEvent{
		WorkflowRunId:  string(run.ID),
		EventType:      compat.WorkflowRunEventType_WORKFLOW_RUN_EVENT_TYPE_FINISHED,
		EventTimestamp: timestamppb.New(time.Unix(0, run.FinishedWall)),
	}
	version, ok := view.Version(run.Version)
	for i, id := range run.Tasks {
		t, found := view.TaskRun(id)
		if !ok || !found || i == version.OnFailure && t.Status == fsm.Skipped {
			continue // an on-failure task that was not needed is no result
		}
		e.Results = append(e.Results, result(version.Tasks[i].Name, t))
	}
	if len(e.GetResults()) == 0 {
		return unknownRun(string(run.ID), "the run has no results")
	}
	return e
}

// unknownRun answers a subscription that would wait for ever: results are never
// empty, since an SDK would then look elsewhere, and an error reaches the
// caller.
func unknownRun(id, why string) *compat.WorkflowRunEvent {
	return &compat.WorkflowRunEvent{
		WorkflowRunId:  id,
		EventType:      compat.WorkflowRunEventType_WORKFLOW_RUN_EVENT_TYPE_FINISHED,
		EventTimestamp: timestamppb.Now(),
		Results:        []*compat.StepRunResult{{TaskRunExternalId: id, JobRunId: id, Error: new(fmt.Sprintf("workflow run %q: %s", id, why))}},
	}
}

func result(name string, t *fsm.TaskRun) *compat.StepRunResult {
	r := &compat.StepRunResult{TaskRunExternalId: string(t.ID), TaskName: name, JobRunId: string(t.ID)}
	if text := errorText(t); text != "" {
		r.Error = new(text)
	} else {
		r.Output = new(string(output(t)))
	}
	return r
}

// errorText is never empty for a task run that failed or was cancelled: SDKs
// take an empty text for success.
func errorText(t *fsm.TaskRun) string {
	if t.Status != fsm.Failed && t.Status != fsm.Cancelled {
		return ""
	}
	if t.Error != "" {
		return t.Error
	}
	if t.Status == fsm.Cancelled {
		return "the task was cancelled"
	}
	return "the task failed without an error text"
}

func output(t *fsm.TaskRun) []byte {
	switch {
	case len(t.Output) > 0:
		return t.Output
	case t.Status == fsm.Skipped:
		return []byte(session.SkippedOutput)
	default:
		return []byte("{}")
	}
}

// shrink replaces the largest outputs by errors that say so until the event
// fits: a caller must not take a result that is too large for an empty one.
func shrink(e *compat.WorkflowRunEvent, limit int) {
	for proto.Size(e) > limit {
		big := slices.MaxFunc(e.GetResults(), func(a, b *compat.StepRunResult) int {
			return payloadSize(a) - payloadSize(b)
		})
		size := payloadSize(big)
		text := fmt.Sprintf("the result of task %q (%d bytes) does not fit into one message with the others, the limit is %d bytes; "+
			"keep large data elsewhere and return a reference to it", big.GetTaskName(), size, limit)
		if size <= len(text) {
			return // nothing is left to gain
		}
		big.Output, big.Error = nil, new(text)
	}
}

func payloadSize(r *compat.StepRunResult) int { return len(r.GetOutput()) + len(r.GetError()) }

// details is a run with its task runs by task name.
func details(view fsm.View, run *fsm.Run) *compatv1.GetRunDetailsResponse {
	out := &compatv1.GetRunDetailsResponse{
		Input: run.Input, Status: runStatus(run.Status), Done: run.Status.Final(), AdditionalMetadata: run.Metadata,
		TaskRuns: map[string]*compatv1.TaskRunDetail{},
	}
	version, ok := view.Version(run.Version)
	if !ok {
		return out
	}
	for i, id := range run.Tasks {
		t, found := view.TaskRun(id)
		if !found {
			continue
		}
		name := version.Tasks[i].Name
		d := &compatv1.TaskRunDetail{ExternalId: string(id), Status: runStatus(t.Status), ReadableId: name}
		if text := errorText(t); text != "" {
			d.Error = new(text)
		}
		if t.Status == fsm.Completed || t.Status == fsm.Skipped {
			d.Output = output(t)
		}
		out.TaskRuns[name] = d
	}
	return out
}

// runStatus converts a state. The wire has none for waiting on parents, for
// the pause before a retry, or for skipped.
func runStatus(s fsm.Status) compatv1.RunStatus {
	switch s {
	case fsm.Blocked, fsm.Queued, fsm.Backoff, fsm.Assigned:
		return compatv1.RunStatus_QUEUED
	case fsm.Running:
		return compatv1.RunStatus_RUNNING
	case fsm.Completed, fsm.Skipped:
		return compatv1.RunStatus_COMPLETED
	case fsm.Failed:
		return compatv1.RunStatus_FAILED
	case fsm.Cancelled:
		return compatv1.RunStatus_CANCELLED
	}
	return compatv1.RunStatus_QUEUED
}
