package rest

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/limpet-dev/limpet/fsm"
)

// runFilter selects runs. What is empty selects all.
type runFilter struct {
	statuses     []string
	since, until int64 // wall, Unix nanoseconds
	workflows    []fsm.WorkflowID
	metadata     []pair
	parent       fsm.TaskRunID
	event        string
}

// filterRequest is a filter in a body.
type filterRequest struct {
	Since     string   `json:"since"`
	Until     string   `json:"until"`
	Statuses  []string `json:"statuses"`
	Workflows []string `json:"workflowIds"`
	Metadata  []string `json:"additionalMetadata"`
}

// filterNames are the names of a filter's fields, for errors.
type filterNames struct{ since, until, statuses, workflows, metadata string }

func newRunFilter(in *filterRequest, at filterNames) (*runFilter, error) {
	var f runFilter
	var errs [5]error
	f.since, errs[0] = parseTime(at.since, in.Since, 0)
	f.until, errs[1] = parseTime(at.until, in.Until, math.MaxInt64)
	f.statuses, errs[2] = parseStatuses(at.statuses, in.Statuses)
	f.workflows, errs[3] = parseIDs[fsm.WorkflowID](at.workflows, in.Workflows)
	f.metadata, errs[4] = parsePairs(at.metadata, in.Metadata)
	for _, err := range errs {
		if err != nil {
			return nil, err // one at a time: the first is enough to act on
		}
	}
	return &f, nil
}

// bodyFilter reads the filter of a body.
func bodyFilter(in *filterRequest) (*runFilter, error) {
	return newRunFilter(in, filterNames{
		"filter.since", "filter.until", "filter.statuses", "filter.workflowIds", "filter.additionalMetadata",
	})
}

// filter reads the filter in a URL.
func (q *query) filter() *runFilter {
	q.without("running_filter", "idempotency_keys")
	f, err := newRunFilter(&filterRequest{
		Since: q.text("since"), Until: q.text("until"), Statuses: q.list("statuses"),
		Workflows: q.list("workflow_ids"), Metadata: q.list("additional_metadata"),
	}, filterNames{"since", "until", "statuses", "workflow_ids", "additional_metadata"})
	if err != nil {
		q.keep(err)
		return &runFilter{}
	}
	f.parent = fsm.TaskRunID(q.id("parent_task_external_id"))
	f.event = q.id("triggering_event_external_id")
	return f
}

// selects reports whether a run is meant.
func (f *runFilter) selects(run *fsm.Run) bool {
	return f.hasStatus(run.Status) && f.concerns(run)
}

// concerns is selects without regard to the run's own state.
func (f *runFilter) concerns(run *fsm.Run) bool {
	return run.CreatedWall >= f.since && run.CreatedWall <= f.until &&
		(len(f.workflows) == 0 || slices.Contains(f.workflows, run.Workflow)) &&
		(f.parent == "" || f.parent == run.ParentTaskRun) &&
		(f.event == "" || f.event == run.EventID) &&
		f.hasMetadata(run)
}

func (f *runFilter) hasStatus(status fsm.Status) bool {
	return len(f.statuses) == 0 || slices.Contains(f.statuses, statusWord(status))
}

func (f *runFilter) hasMetadata(run *fsm.Run) bool {
	if len(f.metadata) == 0 {
		return true
	}
	var have map[string]json.RawMessage
	if json.Unmarshal(run.Metadata, &have) != nil {
		return false
	}
	for _, want := range f.metadata {
		raw, ok := have[want.key]
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		if !ok || text != want.value {
			return false
		}
	}
	return true
}

// open selects, of the tenant's runs, those that are not final, newest first.
func (f *runFilter) open(view fsm.View, t fsm.TenantID) []string {
	return f.ids(view, t, func(run *fsm.Run) bool { return !run.Status.Final() })
}

// ended selects those that are final, unless the filter names states.
func (f *runFilter) ended(view fsm.View, t fsm.TenantID) []string {
	return f.ids(view, t, func(run *fsm.Run) bool { return len(f.statuses) > 0 || run.Status.Final() })
}

func (f *runFilter) ids(view fsm.View, t fsm.TenantID, also func(*fsm.Run) bool) []string {
	var ids []string
	for run := range view.Runs(true) {
		if run.Tenant == t && also(run) && f.selects(run) {
			ids = append(ids, string(run.ID))
		}
	}
	return ids
}
