package rest_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
)

type workflowSeen struct {
	Metadata          meta
	Name, Description string
	Versions          []struct{ Metadata meta }
}

type jobSeen struct {
	Steps []struct {
		Metadata                    meta
		ReadableID, Action, Timeout string
		Parents, Children           []string
		SlotRequests                map[string]int
	}
}

func TestWorkflowsAreDescribed(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, oneTask())
	client.Put(t, order())
	path := "/api/v1/tenants/" + string(b.cluster.Tenant) + "/workflows"
	for query, want := range map[string]string{
		"":                  "Order w",
		"?name=order":       "Order",
		"?name=W":           "w",
		"?name=orde":        "",
		"?limit=1":          "1",
		"?limit=5&offset=1": "1",
		"?offset=2":         "",
	} {
		var got struct{ Rows []workflowSeen }
		b.get(path+query, &got)
		var names []string
		for _, w := range got.Rows {
			names = append(names, w.Name)
		}
		slices.Sort(names)
		if want == "1" && len(names) == 1 {
			continue // rows stand in the order of their ids
		}
		if got.Rows == nil || strings.Join(names, " ") != want {
			t.Errorf("%q gives %q, want %q", query, names, want)
		}
	}
	id := b.workflowID("order")
	var got workflowSeen
	b.get("/api/v1/workflows/"+strings.ToUpper(id), &got)
	w, _ := b.cluster.View().WorkflowByID(fsm.WorkflowID(id))
	if got.Metadata.ID != id || got.Name != "Order" || got.Description != "ships things" || len(got.Versions) != 1 ||
		got.Versions[0].Metadata.ID != string(w.Latest) {
		t.Errorf("the workflow is %+v", got)
	}
}

func TestAVersionIsDescribed(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, order())
	view := b.cluster.View()
	path := "/api/v1/workflows/" + b.workflowID("order") + "/versions"
	first, _ := view.Workflow(b.cluster.Tenant, "order")
	client.Put(t, &compatv1.CreateWorkflowVersionRequest{
		Name: "order", DefaultPriority: new(int32(2)), InputJsonSchema: []byte(`{"type":"object"}`),
		Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "all", Action: "order:all"}},
	})
	type seen struct {
		Metadata        meta
		Version, Sticky string
		Order           int
		DefaultPriority int
		Workflow        workflowSeen
		Jobs            []jobSeen
		InputJSONSchema json.RawMessage
	}
	var old, latest seen
	b.get(path+"?version="+string(first.Latest), &old)
	b.get(path, &latest)
	if old.Metadata.ID != string(first.Latest) || old.Version != "v7" || old.Sticky != "HARD" || old.DefaultPriority != 1 ||
		len(old.Jobs) != 1 || string(old.InputJSONSchema) != "{}" {
		t.Errorf("the first version is %+v", old)
	}
	if latest.Sticky != "NONE" || latest.DefaultPriority != 2 || latest.Order <= old.Order || latest.Workflow.Name != "Order" ||
		string(latest.InputJSONSchema) != `{"type":"object"}` || latest.Metadata.ID == old.Metadata.ID {
		t.Errorf("the latest version is %+v", latest)
	}
	tasks := old.Jobs[0].Steps
	if len(tasks) != 3 || tasks[1].ReadableID != "ship" || tasks[1].Action != "order:ship" || tasks[1].Timeout != "1m0s" ||
		!slices.Equal(tasks[1].Parents, []string{tasks[0].Metadata.ID}) || !slices.Equal(tasks[0].Children, []string{tasks[1].Metadata.ID}) ||
		!maps.Equal(tasks[0].SlotRequests, map[string]int{"default": 1}) {
		t.Errorf("the tasks are %+v", tasks)
	}
	wantFail(t, b.do(http.MethodGet, path+"?version="+uuid.NewString(), ""), http.StatusNotFound, "has no such version")
	wantFail(t, b.do(http.MethodGet, path+"?version=7", ""), http.StatusBadRequest, `version "7"`)
}

func TestTheShapeOfARunHasItsResults(t *testing.T) {
	h := newHistory(t)
	type seen struct {
		Metadata      meta
		Status, Error string
		ParentID      string
		JobRuns       []struct {
			Status   string
			Job      jobSeen
			StepRuns []struct {
				StepID, Status, Output, Error, CancelledReason, WorkerID string
			}
		}
	}
	for _, c := range []struct {
		run    fsm.RunID
		status string
		want   map[string]string // by the task's name: state, output and error
	}{
		{h.good, "SUCCEEDED", map[string]string{"w": "SUCCEEDED " + outputOfGood + " "}},
		{h.bad, "FAILED", map[string]string{"w": "FAILED  out of paper"}},
		{h.gone, "CANCELLED", map[string]string{"w": "CANCELLED  cancelled by request"}},
		{h.whole, "SUCCEEDED", map[string]string{"pack": `SUCCEEDED {"box":1} `, "ship": `SUCCEEDED {"post":true} `}},
		{h.broken, "RUNNING", map[string]string{
			"pack": "FAILED  no box", "ship": `CANCELLED  parent task "pack" ended FAILED`, "refund": "PENDING  ",
		}},
	} {
		var got seen
		h.get("/api/v1/tenants/"+string(h.cluster.Tenant)+"/workflow-runs/"+string(c.run)+"/shape", &got)
		names := map[string]string{}
		for _, s := range got.JobRuns[0].Job.Steps {
			names[s.Metadata.ID] = s.ReadableID
		}
		tasks := map[string]string{}
		for _, s := range got.JobRuns[0].StepRuns {
			tasks[names[s.StepID]] = s.Status + " " + s.Output + " " + s.Error
		}
		if got.Metadata.ID != string(c.run) || got.Status != c.status || got.JobRuns[0].Status != c.status || !maps.Equal(tasks, c.want) {
			t.Errorf("the shape of %s is %+v with %q, want %s and %q", h.names([]string{string(c.run)}), got, tasks, c.status, c.want)
		}
	}
	var got seen
	h.get("/api/v1/tenants/"+string(h.cluster.Tenant)+"/workflow-runs/"+string(h.child)+"/shape", &got)
	if got.ParentID != string(h.broken) || got.Status != "PENDING" {
		t.Errorf("the child's shape is %+v", got)
	}
}
