package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

func TestARunIsStarted(t *testing.T) {
	b := newBed(t)
	b.node.Client(t).Put(t, oneTask())
	for _, c := range []struct {
		name, body, input, metadata string
		priority                    int32
	}{
		{"all", `{"workflowName":"W","input":{"a":1},"additionalMetadata":{"k":"v"},"priority":3}`, `{"a":1}`, `{"k":"v"}`, 3},
		{"little", `{"workflowName":"w","input":{}}`, `{}`, ``, 1},
		{"least", `{"workflowName":"w"}`, `{}`, ``, 1},
		{"nulls", `{"workflowName":"w","input":null,"additionalMetadata":null,"priority":null,"return_only_id":true}`, `{}`, ``, 1},
		{"much", `{"workflowName":"w","input":{"a":"` + strings.Repeat("x", 2<<20) + `"}}`, `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, ``, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got runSeen
			b.post("workflow-runs/trigger", c.body, &got)
			run, ok := b.cluster.View().Run(fsm.RunID(got.Run.Metadata.ID))
			if !ok || string(run.Input) != c.input || string(run.Metadata) != c.metadata || run.Priority != c.priority || run.Tenant != b.cluster.Tenant {
				t.Fatalf("the run is %.200v", run)
			}
			if got.Run.Status != "QUEUED" || got.Run.DisplayName != "w" || len(got.Tasks) != 1 || got.Tasks[0].TaskExternalID != string(run.ID) {
				t.Errorf("the answer is %.200v", got)
			}
		})
	}
}

func TestTriggersThatAreWrongSayWhere(t *testing.T) {
	b := newBed(t)
	b.node.Client(t).Put(t, oneTask())
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"no name", `{"input":{}}`, 400, "workflowName"},
		{"a blank name", `{"workflowName":" ","input":{}}`, 400, "workflowName"},
		{"an unknown name", `{"workflowName":"none","input":{}}`, 404, `"none"`},
		{"input is no object", `{"workflowName":"w","input":[1]}`, 400, `input "[1]": must be a JSON object`},
		{"metadata is no object", `{"workflowName":"w","additionalMetadata":"k:v"}`, 400, "additionalMetadata"},
		{"priority", `{"workflowName":"w","priority":4}`, 400, `priority "4": must be between 1 and 3`},
		{"no priority", `{"workflowName":"w","priority":0}`, 400, "between 1 and 3"},
		{"priority is text", `{"workflowName":"w","priority":"high"}`, 400, "must be of JSON type"},
		{"too large", `{"workflowName":"w","input":{"a":"` + strings.Repeat("x", transport.DefaultMaxMessage+1<<16) + `"}}`, 413, "limit of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFail(t, b.do(http.MethodPost, b.tenantPath("workflow-runs/trigger"), c.body), c.status, c.want)
		})
	}
	if n := b.cluster.View().Counts().Runs; n != 0 {
		t.Errorf("%d runs were started", n)
	}
}

func TestRunsAreCancelledByAFilter(t *testing.T) {
	h := newHistory(t)
	for _, c := range []struct{ filter, want string }{
		{`{"since":"` + h.wall(60) + `"}`, ""},
		{`{"statuses":["COMPLETED","FAILED"]}`, ""},
		{`{"workflowIds":["` + h.workflowID("w") + `"],"statuses":["QUEUED"],"since":"2030-01-01T00:00:00Z","until":null}`, "child"},
		{`{}`, h.taskOf(h.broken, "refund")},
		{`{}`, ""},
	} {
		var got struct{ IDs []string }
		h.post("tasks/cancel", `{"filter":`+c.filter+`}`, &got)
		if got.IDs == nil || h.names(got.IDs) != c.want {
			t.Errorf("%s cancels %q, want %q", c.filter, h.names(got.IDs), c.want)
		}
	}
}

func TestTaskRunsAreReplayed(t *testing.T) {
	h := newHistory(t)
	for _, c := range []struct{ name, body, want string }{
		{"a run", fmt.Sprintf(`{"externalIds":[%q]}`, h.good), "good"},
		{"a task run and what depends on it", fmt.Sprintf(`{"externalIds":[%q]}`, h.taskOf(h.whole, "ship")), h.taskOf(h.whole, "ship")},
		{"final runs of a filter", fmt.Sprintf(`{"filter":{"workflowIds":[%q],"additionalMetadata":["team:blue"]}}`, h.workflowID("w")), "bad"},
		{"no live runs", `{"filter":{"since":"2030-01-01T00:00:00Z","additionalMetadata":["team:red"]}}`, ""},
		{"cancelled runs", `{"filter":{"statuses":["CANCELLED"]}}`, "gone"},
		{"live runs when they are named", fmt.Sprintf(`{"filter":{"statuses":["QUEUED"],"since":%q}}`, h.wall(5)), "child"},
		{"both", fmt.Sprintf(`{"externalIds":[%q],"filter":{"statuses":["FAILED"]}}`, h.bad), "bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got struct{ IDs []string }
			h.post("tasks/replay", c.body, &got)
			if got.IDs == nil || h.names(got.IDs) != c.want {
				t.Fatalf("replays %q, want %q", h.names(got.IDs), c.want)
			}
			for _, id := range got.IDs {
				if task, ok := h.cluster.View().TaskRun(fsm.TaskRunID(id)); !ok || task.Status.Final() {
					t.Errorf("task run %s is %s", id, task.Status)
				}
			}
		})
	}
	var again taskSeen
	h.get("/api/v1/stable/tasks/"+string(h.good), &again)
	if again.Status != "QUEUED" || *again.Attempt != 2 || string(again.Output) != "{}" || again.FinishedAt != "" {
		t.Errorf("the task run that starts anew is %+v", again)
	}
}

func TestTargetsThatAreWrongSayWhere(t *testing.T) {
	b := newBed(t)
	stranger := uuid.NewString()
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{}`, 400, "at least one"},
		{`{"externalIds":[],"filter":null}`, 400, "or pass a filter"},
		{`{"externalIds":["x"]}`, 400, `externalIds[0] "x"`},
		{`{"externalIds":["` + stranger + `"]}`, 404, stranger},
		{`{"filter":{"since":"x"}}`, 400, `filter.since "x": must be a time`},
		{`{"filter":{"until":"x"}}`, 400, "filter.until"},
		{`{"filter":{"statuses":["DONE"]}}`, 400, `filter.statuses[0] "DONE"`},
		{`{"filter":{"workflowIds":["x"]}}`, 400, `filter.workflowIds[0] "x"`},
		{`{"filter":{"additionalMetadata":["x"]}}`, 400, `filter.additionalMetadata[0] "x"`},
		{`{"filter":[]}`, 400, "must be of JSON type object"},
	} {
		for _, call := range []string{"tasks/cancel", "tasks/replay"} {
			wantFail(t, b.do(http.MethodPost, b.tenantPath(call), c.body), c.status, c.want)
		}
	}
}

type logsSeen struct {
	Rows []struct {
		CreatedAt, Message, Level, TaskExternalID, TaskDisplayName string
		Metadata                                                   json.RawMessage
		RetryCount, Attempt                                        int
	}
}

func TestLinesOfATaskRunAreRead(t *testing.T) {
	h := newHistory(t)
	line := func(second int64, attempt int32, level, message, metadata string) *limpetv1.LogLine {
		return &limpetv1.LogLine{
			TaskRunId: string(h.good), Attempt: attempt, Wall: h.cluster.Wall().UnixNano() + second*1e9, Level: level, Message: message, Metadata: []byte(metadata),
		}
	}
	h.cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_PutLogs{PutLogs: &limpetv1.PutLogs{
		TenantId: string(h.cluster.Tenant), Lines: []*limpetv1.LogLine{
			line(0, 0, "INFO", "one", `{"k":1}`), line(1, 0, "warning", "Two", ""), line(2, 1, "ERROR", "three", `"text"`), line(3, 1, "odd", "four", ""),
		},
	}}})
	path := "/api/v1/stable/tasks/" + string(h.good) + "/logs"
	at := h.cluster.Wall().Add(time.Second).Format(time.RFC3339Nano)
	for query, want := range map[string]string{
		"":                                "one Two three four",
		"limit=2":                         "one Two",
		"limit=2&offset=3":                "four",
		"limit=2&offset=9":                "",
		"order_by_direction=DESC":         "four three Two one",
		"order_by_direction=desc&limit=1": "four",
		"levels=INFO&levels=error":        "one three",
		"levels=WARN":                     "Two",
		"search=TWO":                      "Two",
		"attempt=2":                       "three four",
		"since=" + at:                     "Two three four",
		"until=" + at:                     "one Two",
		"since=" + at + "&until=" + at:    "Two",
	} {
		var got logsSeen
		h.get(path+"?"+query, &got)
		var text []string
		for _, row := range got.Rows {
			text = append(text, row.Message)
		}
		if strings.Join(text, " ") != want || got.Rows == nil {
			t.Errorf("%q gives %q, want %q", query, text, want)
		}
	}
	var got logsSeen
	h.get(path, &got)
	if r := got.Rows[0]; r.Level != "INFO" || string(r.Metadata) != `{"k":1}` || r.TaskExternalID != string(h.good) || r.TaskDisplayName != "w" ||
		r.RetryCount != 0 || r.Attempt != 1 || r.CreatedAt == "" {
		t.Errorf("the first line is %+v", r)
	}
	if r := got.Rows[3]; r.Level != "" || string(r.Metadata) != `{}` || string(got.Rows[2].Metadata) != `{"value":"text"}` {
		t.Errorf("the last lines are %+v", got.Rows[2:])
	}
	got = logsSeen{}
	h.get("/api/v1/stable/tasks/"+string(h.bad)+"/logs", &got)
	if got.Rows == nil || len(got.Rows) != 0 {
		t.Errorf("the other task run's lines are %+v", got.Rows)
	}
}
