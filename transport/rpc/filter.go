package rpc

import (
	"fmt"
	"math"
	"slices"
	"strings"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// runFilter selects runs. What is empty selects all.
type runFilter struct {
	statuses     []compatv1.RunStatus
	since, until int64 // wall, Unix nanoseconds
	workflows    []fsm.WorkflowID
	metadata     []pair
}

// pair is one entry of metadata that a run must have.
type pair struct{ key, value string }

func newRunFilter(in *compatv1.TasksFilter) (*runFilter, error) {
	f := &runFilter{until: math.MaxInt64}
	for i, name := range in.GetStatuses() {
		status, ok := compatv1.RunStatus_value[strings.ToUpper(name)]
		if !ok {
			return nil, invalid(fmt.Sprintf("filter.statuses[%d]", i), name, "must be QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED", "")
		}
		f.statuses = append(f.statuses, compatv1.RunStatus(status))
	}
	if in.GetSince() != nil {
		f.since = in.GetSince().AsTime().UnixNano()
	}
	if in.GetUntil() != nil {
		f.until = in.GetUntil().AsTime().UnixNano()
	}
	for i, text := range in.GetWorkflowIds() {
		id, err := checkID(fmt.Sprintf("filter.workflow_ids[%d]", i), text)
		if err != nil {
			return nil, err
		}
		f.workflows = append(f.workflows, fsm.WorkflowID(id))
	}
	for i, text := range in.GetAdditionalMetadata() {
		key, value, ok := strings.Cut(text, ":")
		if !ok || key == "" {
			return nil, invalid(fmt.Sprintf("filter.additional_metadata[%d]", i), text, "must be key:value", "")
		}
		f.metadata = append(f.metadata, pair{key, value})
	}
	return f, nil
}

// runs gives the ids of the tenant's runs that are selected and to be kept.
func (f *runFilter) runs(view fsm.View, t fsm.TenantID, keep func(*fsm.Run) bool) []string {
	var ids []string
	for run := range view.Runs(true) {
		if run.Tenant == t && keep(run) && f.selects(run) {
			ids = append(ids, string(run.ID))
		}
	}
	return ids
}

func (f *runFilter) selects(run *fsm.Run) bool {
	return run.CreatedWall >= f.since && run.CreatedWall <= f.until &&
		(len(f.statuses) == 0 || slices.Contains(f.statuses, runStatus(run.Status))) &&
		(len(f.workflows) == 0 || slices.Contains(f.workflows, run.Workflow)) &&
		f.hasMetadata(run)
}

func (f *runFilter) hasMetadata(run *fsm.Run) bool {
	for _, want := range f.metadata {
		if !hasPair(run.Metadata, want) {
			return false
		}
	}
	return true
}
