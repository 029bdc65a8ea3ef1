package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

type meta struct{ ID, CreatedAt, UpdatedAt string }

type workerSeen struct {
	Metadata           meta
	Name, Type, Status string
	Labels             []struct {
		Metadata   meta
		Key, Value string
	}
	Slots         []struct{ StepRunID, WorkflowRunID, ActionID string }
	SlotConfig    map[string]struct{ Available, Limit int }
	MaxRuns       int
	AvailableRuns int
}

func TestWorkersAreDescribed(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, oneTask())
	r := worker("first", "w:w")
	r.Labels = map[string]*compat.WorkerLabels{"model": {StrValue: new("small")}, "memory": {IntValue: new(int32(64))}}
	id := client.Register(t, r)
	stream := client.Listen(t, id)
	run := client.Trigger(t, trigger())
	stream.Next(t)
	client.Register(t, worker("second"))

	var list struct {
		Rows       []workerSeen
		Pagination map[string]int
	}
	b.read(http.MethodGet, "/api/v1/tenants/"+string(b.cluster.Tenant)+"/worker", "", &list)
	slices.SortFunc(list.Rows, func(a, b workerSeen) int { return strings.Compare(a.Name, b.Name) })
	if len(list.Rows) != 2 || list.Pagination["current_page"] != 1 || list.Pagination["num_pages"] != 1 {
		t.Fatalf("the list is %+v", list)
	}
	w := list.Rows[0]
	if w.Metadata.ID != string(id) || w.Metadata.CreatedAt == "" || w.Metadata.UpdatedAt == "" || w.Name != "first" ||
		w.Type != "SELFHOSTED" || w.Status != "ACTIVE" || w.MaxRuns != 10 || w.AvailableRuns != 9 ||
		w.SlotConfig["durable"].Limit != 3 || w.SlotConfig["default"].Available != 9 {
		t.Errorf("the worker is %+v", w)
	}
	if len(w.Labels) != 2 || w.Labels[0].Key != "memory" || w.Labels[0].Value != "64" || w.Labels[1].Value != "small" ||
		uuid.Validate(w.Labels[0].Metadata.ID) != nil || w.Labels[0].Metadata.ID == w.Labels[1].Metadata.ID {
		t.Errorf("the labels are %+v", w.Labels)
	}
	if len(w.Slots) != 1 || w.Slots[0].WorkflowRunID != string(run) || w.Slots[0].ActionID != "w:w" {
		t.Errorf("it holds %+v", w.Slots)
	}
	if second := list.Rows[1]; second.Status != "INACTIVE" || second.Labels == nil || second.Slots == nil {
		t.Errorf("the quiet worker is %+v", second)
	}
}

func TestAWorkerIsPausedAndGoesOn(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	id := client.Register(t, worker("w", "w:w"))
	client.Listen(t, id)
	path := "/api/v1/workers/" + string(id)
	for _, c := range []struct {
		body, status string
		mode         fsm.Mode
	}{
		{`{"isPaused":true}`, "PAUSED", fsm.ModePaused},
		{`{"isPaused":true,"more":1}`, "PAUSED", fsm.ModePaused},
		{`{"isPaused":false}`, "ACTIVE", fsm.ModeActive},
	} {
		var patched, read workerSeen
		b.read(http.MethodPatch, path, c.body, &patched)
		b.read(http.MethodGet, "/api/v1/workers/"+strings.ToUpper(string(id)), "", &read)
		w, _ := b.cluster.View().Worker(id)
		if patched.Status != c.status || read.Status != c.status || w.Mode != c.mode || read.Metadata.ID != string(id) {
			t.Errorf("%s gives %q, then %q; the mode is %s", c.body, patched.Status, read.Status, w.Mode)
		}
	}
}

func TestADrainIsNotUndoneByTheWorker(t *testing.T) {
	b := newBed(t)
	id := b.node.Client(t).Register(t, worker("w", "w:w"))
	b.cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
		TenantId: string(b.cluster.Tenant), WorkerId: string(id), Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING,
	}}})
	wantFail(t, b.do(http.MethodPatch, "/api/v1/workers/"+string(id), `{"isPaused":false}`), http.StatusConflict, "draining")
}

func TestRequestsThatAreWrongSayWhere(t *testing.T) {
	b := newBed(t)
	id := string(b.node.Client(t).Register(t, worker("w", "w:w")))
	patch, cancel := "PATCH /api/v1/workers/"+id, "POST /api/v1/stable/tenants/"+string(b.cluster.Tenant)+"/tasks/cancel"
	stranger := uuid.NewString()
	for _, c := range []struct {
		name, call, body string
		status           int
		want             string
	}{
		{"no body", patch, "", 400, "is empty"},
		{"no JSON", patch, `{"isPaused":tru}`, 400, "at byte"},
		{"cut", patch, `{"isPaused":`, 400, "valid JSON"},
		{"two objects", patch, `{"isPaused":true}{}`, 400, "valid JSON"},
		{"another type", patch, `{"isPaused":"yes"}`, 400, `isPaused "string": must be of JSON type boolean`},
		{"an array", patch, `[]`, 400, `body "array": must be of JSON type object`},
		{"nothing said", patch, `{}`, 400, "isPaused"},
		{"null", patch, `null`, 400, "isPaused"},
		{"an unknown worker", "PATCH /api/v1/workers/" + stranger, `{"isPaused":true}`, 404, stranger},
		{"no worker id", "PATCH /api/v1/workers/x", `{"isPaused":true}`, 400, `worker "x": must be a valid UUID`},
		{"too large", patch, `{"isPaused":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "1048576 bytes"},
		{"no ids", cancel, `{"externalIds":[]}`, 400, "at least one"},
		{"a wrong id", cancel, `{"externalIds":["` + stranger + `","x"]}`, 400, `externalIds[1] "x"`},
		{"a number for an id", cancel, `{"externalIds":[7]}`, 400, "must be of JSON type string"},
		{"an unknown run to cancel", cancel, `{"externalIds":["` + stranger + `"]}`, 404, stranger},
		{"an unknown run", "GET /api/v1/stable/workflow-runs/" + stranger + "/status", "", 404, "workflow run not found"},
		{"no run id", "GET /api/v1/stable/workflow-runs/x/status", "", 400, `run "x": must be a valid UUID`},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, path, _ := strings.Cut(c.call, " ")
			wantFail(t, b.do(method, path, c.body), c.status, c.want)
		})
	}
	if b.node.Counters.Oversized.Load() != 1 || b.node.Counters.Refused()[fsm.CodeNotFound] != 3 {
		t.Errorf("counted %d oversized, refusals %v", b.node.Counters.Oversized.Load(), b.node.Counters.Refused())
	}
}

func TestTheStatusOfARunFollowsIt(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, oneTask())
	want := func(run fsm.RunID, status string) {
		t.Helper()
		var got string
		b.read(http.MethodGet, "/api/v1/stable/workflow-runs/"+strings.ToUpper(string(run))+"/status", "", &got)
		if got != status {
			t.Errorf("the run is %s, want %s", got, status)
		}
	}
	good := client.Trigger(t, trigger())
	want(good, "QUEUED")
	stream := client.Listen(t, client.Register(t, worker("w", "w:w")))
	order := stream.Next(t)
	stream.Started(t, order)
	want(good, "RUNNING")
	stream.Completed(t, order, `{"ok":true}`)
	want(good, "COMPLETED")
	bad := client.Trigger(t, trigger())
	stream.Failed(t, stream.Next(t), "broken")
	want(bad, "FAILED")
}

func TestRunsAreCancelled(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, oneTask())
	first, second := client.Trigger(t, trigger()), client.Trigger(t, trigger())
	path := "/api/v1/stable/tenants/" + string(b.cluster.Tenant) + "/tasks/cancel"
	body := fmt.Sprintf(`{"externalIds":[%q,%q]}`, first, strings.ToUpper(string(second)))
	var got struct{ IDs []string }
	b.read(http.MethodPost, path, body, &got)
	if len(got.IDs) != 2 {
		t.Errorf("cancelled %v", got.IDs)
	}
	for _, run := range []fsm.RunID{first, second} {
		if r, _ := b.cluster.View().Run(run); r.Status != fsm.Cancelled {
			t.Errorf("run %s is %s", run, r.Status)
		}
	}
	var status string
	b.read(http.MethodGet, "/api/v1/stable/workflow-runs/"+string(first)+"/status", "", &status)
	if status != "CANCELLED" {
		t.Errorf("the status is %s", status)
	}
	got.IDs = nil
	b.read(http.MethodPost, path, body, &got)
	if got.IDs == nil || len(got.IDs) != 0 {
		t.Errorf("cancelled again: %v", got.IDs)
	}
}
