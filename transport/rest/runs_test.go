package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// taskSeen is a task run as an SDK reads it.
type taskSeen struct {
	Metadata              meta
	Status, Type          string
	DisplayName           string
	ActionID              string
	ErrorMessage          string
	WorkflowName          string
	TaskExternalID        string
	WorkflowRunExternalID string
	ParentTaskExternalID  string
	TaskID                int64
	RetryCount, Attempt   *int
	NumSpawnedChildren    int
	Duration              *int
	StartedAt, FinishedAt string
	Input, Output         json.RawMessage
	AdditionalMetadata    json.RawMessage
}

type runSeen struct {
	Run struct {
		Metadata                          meta
		Status, DisplayName, ErrorMessage string
		StartedAt, FinishedAt             string
		Duration                          *int
		Input, Output, AdditionalMetadata json.RawMessage
		WorkflowID, WorkflowVersionID     string
		ParentTaskExternalID, TenantID    string
	}
	TaskEvents []struct {
		ID                                                int
		TaskID, EventType, ErrorMessage, Output, WorkerID string
		TaskDisplayName                                   string
	}
	Shape []struct {
		TaskExternalID, StepID, TaskName string
		ChildrenStepIDs                  []string `json:"childrenStepIds"`
	}
	Tasks []taskSeen
}

func TestARunIsToldInFull(t *testing.T) {
	h := newHistory(t)
	var got runSeen
	h.get("/api/v1/stable/workflow-runs/"+strings.ToUpper(string(h.whole)), &got)
	run := got.Run
	if run.Metadata.ID != string(h.whole) || run.Status != "COMPLETED" || run.DisplayName != "Order" || run.ErrorMessage != "" ||
		string(run.Input) != `{"item":"boat"}` || run.WorkflowID != h.workflowID("order") || run.TenantID != string(h.cluster.Tenant) ||
		string(run.Output) != `{"pack":{"box":1},"ship":{"post":true}}` || run.Duration == nil || *run.Duration < 2000 {
		t.Errorf("the run is %+v", run)
	}
	var names, events []string
	for _, task := range got.Tasks {
		names = append(names, task.DisplayName+" "+task.Status+" "+string(task.Output))
	}
	want := []string{`pack COMPLETED {"box":1}`, `ship COMPLETED {"post":true}`, `refund COMPLETED {"skipped":true}`}
	if !slices.Equal(names, want) {
		t.Errorf("the tasks are %q, want %q", names, want)
	}
	for i, e := range got.TaskEvents {
		if e.ID != i+1 {
			t.Errorf("event %d has the number %d", i, e.ID)
		}
		events = append(events, e.TaskDisplayName+" "+e.EventType)
	}
	want = []string{
		"pack QUEUED", "pack ASSIGNED", "pack STARTED", "pack FINISHED",
		"ship QUEUED", "ship ASSIGNED", "ship STARTED", "ship FINISHED", "refund SKIPPED",
	}
	if !slices.Equal(events, want) {
		t.Errorf("the events are %q, want %q", events, want)
	}
	if e := got.TaskEvents[3]; e.Output != `{"box":1}` || got.TaskEvents[1].WorkerID != string(h.worker) {
		t.Errorf("the events are %+v", got.TaskEvents)
	}
	pack, ship := got.Shape[0], got.Shape[1]
	if len(got.Shape) != 3 || pack.TaskName != "pack" || !slices.Equal(pack.ChildrenStepIDs, []string{ship.StepID}) ||
		pack.TaskExternalID != h.taskOf(h.whole, "pack") || len(ship.ChildrenStepIDs) != 0 {
		t.Errorf("the shape is %+v", got.Shape)
	}
}

func TestARunThatWentWrongSaysWhy(t *testing.T) {
	h := newHistory(t)
	for _, c := range []struct {
		run                   fsm.RunID
		status, text, out, in string
	}{
		{h.good, "COMPLETED", "", outputOfGood, `{"a":1}`},
		{h.bad, "FAILED", "out of paper", `{}`, `{}`},
		{h.gone, "CANCELLED", "cancelled by request", `{}`, `{}`},
		{h.broken, "RUNNING", `pack: no box; ship: parent task "pack" ended FAILED`, `{}`, `{"value":[1,2]}`},
		{h.child, "QUEUED", "", `{}`, `{}`},
	} {
		var got runSeen
		h.get("/api/v1/stable/workflow-runs/"+string(c.run), &got)
		if got.Run.Status != c.status || got.Run.ErrorMessage != c.text || string(got.Run.Output) != c.out || string(got.Run.Input) != c.in {
			t.Errorf("the run %s is %+v, want %+v", h.names([]string{string(c.run)}), got.Run, c)
		}
	}
}

func TestATaskRunIsDescribed(t *testing.T) {
	h := newHistory(t)
	var pack, good, child taskSeen
	h.get("/api/v1/stable/tasks/"+h.taskOf(h.broken, "pack"), &pack)
	if pack.Status != "FAILED" || pack.ErrorMessage != "no box" || pack.NumSpawnedChildren != 1 || pack.Type != "TASK" ||
		pack.ActionID != "order:pack" || pack.WorkflowName != "Order" || pack.WorkflowRunExternalID != string(h.broken) ||
		*pack.RetryCount != 0 || *pack.Attempt != 1 || pack.StartedAt == "" || pack.FinishedAt == "" {
		t.Errorf("the task run is %+v", pack)
	}
	h.get("/api/v1/stable/tasks/"+string(h.good)+"?attempt=1", &good)
	if good.TaskExternalID != string(h.good) || string(good.Output) != outputOfGood || *good.Duration < 1000 ||
		string(good.AdditionalMetadata) != `{"team":"red","n":7}` || good.TaskID == pack.TaskID {
		t.Errorf("the task run is %+v", good)
	}
	h.get("/api/v1/stable/tasks/"+string(h.child), &child)
	if child.ParentTaskExternalID != pack.TaskExternalID || child.Status != "QUEUED" || child.StartedAt != "" || child.Duration != nil {
		t.Errorf("the task run is %+v", child)
	}
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{string(h.good) + "?attempt=2", 404, `attempt "2"`},
		{string(h.good) + "?attempt=0", 400, `attempt "0": must be a whole number from 1`},
		{string(h.whole), 404, "task run not found"},
		{"x", 400, `task "x": must be a valid UUID`},
	} {
		wantFail(t, h.do(http.MethodGet, "/api/v1/stable/tasks/"+c.path, ""), c.status, c.want)
	}
}

type listSeen struct {
	Rows       []taskSeen
	Pagination struct {
		Current int `json:"current_page"`
		Next    int `json:"next_page"`
		Pages   int `json:"num_pages"`
	}
}

func TestRunsAreListed(t *testing.T) {
	h := newHistory(t)
	all := "child broken whole gone bad good"
	for _, c := range []struct {
		name, query, want string
		pages             [3]int // current, next, all
	}{
		{"all", "", all, [3]int{1, 1, 1}},
		{"first page", "limit=4", "child broken whole gone", [3]int{1, 2, 2}},
		{"second page", "limit=4&offset=4", "bad good", [3]int{2, 2, 2}},
		{"beyond", "limit=4&offset=8", "", [3]int{3, 3, 2}},
		{"one state", "statuses=failed", "bad", [3]int{1, 1, 1}},
		{"two states", "statuses=FAILED&statuses=COMPLETED", "whole bad good", [3]int{1, 1, 1}},
		{"a workflow", "workflow_ids=" + h.workflowID("order"), "broken whole", [3]int{1, 1, 1}},
		{"metadata", "additional_metadata=team:red", "good", [3]int{1, 1, 1}},
		{"metadata, a number", "additional_metadata=n:7&additional_metadata=team:red", "good", [3]int{1, 1, 1}},
		{"metadata, one of two", "additional_metadata=n:7&additional_metadata=team:blue", "", [3]int{1, 1, 1}},
		{"since", "since=" + h.wall(4), "child broken whole", [3]int{1, 1, 1}},
		{"until", "until=" + h.wall(3), "bad good", [3]int{1, 1, 1}},
		{"between, as one SDK writes it", "since=2030-01-02T03:05:30.000000%2B0000&until=2030-01-02T04:06:30.000000%2B0100", "bad", [3]int{1, 1, 1}},
		{"since, no zone", "since=2030-01-02T03:08:00.000000", "child broken whole", [3]int{1, 1, 1}},
		{"a worker", "worker_id=" + string(h.worker), "broken whole gone bad good", [3]int{1, 1, 1}},
		{"another worker", "worker_id=" + string(h.other), "", [3]int{1, 1, 1}},
		{"spawned", "parent_task_external_id=" + h.taskOf(h.broken, "pack"), "child", [3]int{1, 1, 1}},
		{"of an event", "triggering_event_external_id=" + uuid.NewString(), "", [3]int{1, 1, 1}},
		{"of no event", "triggering_event_external_id=", all, [3]int{1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got listSeen
			h.get(h.tenantPath("workflow-runs?"+c.query), &got)
			var ids []string
			for _, r := range got.Rows {
				ids = append(ids, r.Metadata.ID)
			}
			p := got.Pagination
			if h.names(ids) != c.want || [3]int{p.Current, p.Next, p.Pages} != c.pages {
				t.Errorf("gives %q and %+v, want %q and %v", h.names(ids), p, c.want, c.pages)
			}
			if strings.Contains(c.query, "limit") || strings.Contains(c.query, "worker") {
				return
			}
			ids = nil
			h.get(h.tenantPath("workflow-runs/external-ids?"+c.query), &ids)
			if ids == nil || h.names(ids) != c.want {
				t.Errorf("the ids are %q, want %q", h.names(ids), c.want)
			}
		})
	}
}

func TestRunsOfAnEventAreListed(t *testing.T) {
	b := newBed(t)
	flow := oneTask()
	flow.EventTriggers = []string{"order:made"}
	client := b.node.Client(t)
	client.Put(t, flow)
	client.Trigger(t, trigger())
	event := uuid.NewString()
	b.cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{
		TenantId: string(b.cluster.Tenant), Events: []*limpetv1.Event{{Id: event, Key: "order:made", Payload: []byte(`{"n":1}`)}},
	}}})
	var all, started []string
	b.get(b.tenantPath("workflow-runs/external-ids"), &all)
	b.get(b.tenantPath("workflow-runs/external-ids?triggering_event_external_id="+event), &started)
	if len(all) != 2 || len(started) != 1 || started[0] != all[0] {
		t.Errorf("the event started %q of %q", started, all)
	}
}

func TestRowsOfRunsAndOfTaskRuns(t *testing.T) {
	h := newHistory(t)
	var got listSeen
	h.get(h.tenantPath("workflow-runs?limit=2&offset=1"), &got)
	broken, whole := got.Rows[0], got.Rows[1]
	if broken.Type != "DAG" || broken.NumSpawnedChildren != 1 || broken.Attempt != nil || broken.DisplayName != "Order" ||
		broken.TaskExternalID != string(h.broken) || string(whole.Output) != `{"pack":{"box":1},"ship":{"post":true}}` {
		t.Errorf("the rows are %+v", got.Rows)
	}
	got = listSeen{}
	h.get(h.tenantPath("workflow-runs?only_tasks=True&statuses=COMPLETED&include_payloads=false"), &got)
	var names []string
	for _, r := range got.Rows {
		names = append(names, r.DisplayName)
		if string(r.Input)+string(r.Output) != "{}{}" || r.Type != "TASK" {
			t.Errorf("a row without payloads is %+v", r)
		}
	}
	if want := []string{"pack", "ship", "refund", "w"}; !slices.Equal(names, want) {
		t.Errorf("the task runs are %q, want %q", names, want)
	}
	got = listSeen{}
	h.get(h.tenantPath("workflow-runs?only_tasks=true&worker_id="+string(h.worker)+"&workflow_ids="+h.workflowID("w")), &got)
	if len(got.Rows) != 3 {
		t.Errorf("the worker's task runs are %+v", got.Rows)
	}
}

func TestTaskRunsAreCounted(t *testing.T) {
	h := newHistory(t)
	for query, want := range map[string]string{
		"":                                     "QUEUED 2 RUNNING 0 COMPLETED 4 FAILED 2 CANCELLED 2",
		"workflow_ids=" + h.workflowID("w"):    "QUEUED 1 RUNNING 0 COMPLETED 1 FAILED 1 CANCELLED 1",
		"since=" + url.QueryEscape(h.wall(60)): "QUEUED 0 RUNNING 0 COMPLETED 0 FAILED 0 CANCELLED 0",
		"parent_task_external_id=" + h.taskOf(h.broken, "pack"): "QUEUED 1 RUNNING 0 COMPLETED 0 FAILED 0 CANCELLED 0",
	} {
		var got []struct {
			Status string
			Count  int
		}
		h.get(h.tenantPath("task-metrics?"+query), &got)
		var text []string
		for _, c := range got {
			text = append(text, fmt.Sprintf("%s %d", c.Status, c.Count))
		}
		if strings.Join(text, " ") != want {
			t.Errorf("%q gives %q, want %q", query, text, want)
		}
	}
}

func TestParametersThatAreWrongSayWhich(t *testing.T) {
	h := newHistory(t)
	runs, ids, counts := h.tenantPath("workflow-runs"), h.tenantPath("workflow-runs/external-ids"), h.tenantPath("task-metrics")
	logs := "/api/v1/stable/tasks/" + string(h.good) + "/logs"
	flows := "/api/v1/tenants/" + string(h.cluster.Tenant) + "/workflows"
	for _, c := range []struct {
		path, query string
		status      int
		want        string
	}{
		{runs, "since=yesterday", 400, `since "yesterday": must be a time`},
		{counts, "until=1", 400, `until "1": must be a time`},
		{runs, "statuses=COMPLETED&statuses=DONE", 400, `statuses[1] "DONE": must be QUEUED, RUNNING`},
		{ids, "workflow_ids=x", 400, `workflow_ids[0] "x": must be a valid UUID`},
		{ids, "additional_metadata=team", 400, `additional_metadata[0] "team": must be key:value`},
		{runs, "additional_metadata=:red", 400, "must be key:value"},
		{runs, "worker_id=x", 400, `worker_id "x"`},
		{counts, "parent_task_external_id=x", 400, `parent_task_external_id "x"`},
		{runs, "triggering_event_external_id=x", 400, `triggering_event_external_id "x"`},
		{runs, "only_tasks=maybe", 400, `only_tasks "maybe": must be true or false`},
		{runs, "include_payloads=2", 400, `include_payloads "2"`},
		{runs, "limit=0", 400, `limit "0": must be a whole number from 1 to 10000`},
		{runs, "limit=ten", 400, `limit "ten"`},
		{runs, "offset=-1", 400, `offset "-1"`},
		{runs, "offset=99999999999999999999", 400, "offset"},
		{runs, "a=%zz", 400, "must be a valid query"},
		{runs, "limit=x&offset=y", 400, "limit"},
		{runs, "running_filter=EVICTED", 501, `running_filter "EVICTED"`},
		{ids, "idempotency_keys=k", 501, "idempotency_keys"},
		{flows, "limit=0", 400, "limit"},
		{logs, "levels=INFO&levels=LOUD", 400, `levels[1] "LOUD": must be DEBUG`},
		{logs, "order_by_direction=UP", 400, "must be ASC or DESC"},
		{logs, "attempt=first", 400, "attempt"},
		{logs, "since=x", 400, "since"},
	} {
		t.Run(c.query, func(t *testing.T) {
			wantFail(t, h.do(http.MethodGet, c.path+"?"+c.query, ""), c.status, c.want)
		})
	}
}

func TestWhatIsNotKnownIsNotFound(t *testing.T) {
	b := newBed(t)
	id := uuid.NewString()
	for path, want := range map[string]string{
		"/api/v1/stable/workflow-runs/" + id:                                              "workflow run not found",
		"/api/v1/tenants/" + string(b.cluster.Tenant) + "/workflow-runs/" + id + "/shape": "workflow run not found",
		"/api/v1/stable/tasks/" + id:                                                      "task run not found",
		"/api/v1/stable/tasks/" + id + "/logs":                                            "task run not found",
		"/api/v1/workflows/" + id:                                                         "no such workflow",
		"/api/v1/workflows/" + id + "/versions":                                           "no such workflow",
	} {
		wantFail(t, b.do(http.MethodGet, path, ""), http.StatusNotFound, want)
		wantFail(t, b.do(http.MethodGet, strings.Replace(path, id, "x", 1), ""), http.StatusBadRequest, `"x": must be a valid UUID`)
	}
}
