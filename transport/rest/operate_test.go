package rest_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

type drainSeen struct {
	Mode            string
	Drained         bool
	DeadlineSeconds *float64
	ETASeconds      *float64
	Blockers        []struct {
		WorkflowRunID, WorkflowName, TaskName, Status string
		EndsInSeconds                                 *float64
	}
}

// pinned makes a HARD run that a worker has started.
func pinned(t *testing.T, b *bed, name string) (fsm.WorkerID, fsm.RunID, *transporttest.Stream, *compat.AssignedAction) {
	t.Helper()
	client := b.node.Client(t)
	w := oneTask()
	w.Sticky = compatv1.StickyStrategy_HARD.Enum()
	client.Put(t, w)
	id := client.Register(t, worker(name, "w:w"))
	stream := client.Listen(t, id)
	run := client.Trigger(t, trigger())
	order := stream.Next(t)
	stream.Started(t, order)
	return id, run, stream, order
}

func TestAWorkerIsDrainedAndSaysWhatItWaitsFor(t *testing.T) {
	b := newBed(t)
	id, run, stream, order := pinned(t, b, "gpu-1")
	b.token = b.node.Token(t, auth.RoleAdmin)
	path := "/api/v1/workers/" + string(id)
	var d drainSeen
	b.read(http.MethodGet, path+"/drain", "", &d)
	if d.Mode != "active" || d.Drained || len(d.Blockers) != 0 {
		t.Errorf("before: %+v", d)
	}
	b.read(http.MethodPost, path+"/drain", `{"deadline":"20s","reason":"kernel"}`, &d)
	if d.Mode != "draining" || d.Drained || !near(d.DeadlineSeconds, 20) || !near(d.ETASeconds, 20) {
		t.Errorf("a drain answers %+v", d)
	}
	if len(d.Blockers) != 1 || d.Blockers[0].WorkflowRunID != string(run) || d.Blockers[0].TaskName != "w" || d.Blockers[0].Status != "RUNNING" ||
		!near(d.Blockers[0].EndsInSeconds, 60) {
		t.Errorf("it waits for %+v", d.Blockers)
	}
	b.cluster.Advance(5 * time.Second)
	b.read(http.MethodPost, path+"/drain", `{"deadline":"1h"}`, &d)
	if !near(d.DeadlineSeconds, 15) {
		t.Errorf("a later deadline moves it to %v", *d.DeadlineSeconds)
	}
	stream.Completed(t, order, `{}`)
	b.read(http.MethodGet, path+"/drain", "", &d)
	if !d.Drained || len(d.Blockers) != 0 {
		t.Errorf("at last: %+v", d)
	}
	b.read(http.MethodPost, path+"/resume", "{}", &d)
	if d.Mode != "active" || d.Drained {
		t.Errorf("resumed: %+v", d)
	}
	wantFail(t, b.do(http.MethodPost, path+"/drain", `{"deadline":"soon"}`), 400, `deadline "soon": must be a positive time`)
	wantFail(t, b.do(http.MethodPost, path+"/drain", `{"deadline":"-1s"}`), 400, `must be a positive time`)
	wantFail(t, b.do(http.MethodPost, "/api/v1/workers/"+string(run)+"/drain", `{}`), 404, "no such worker")
}

// near allows for the cluster time that each command takes.
func near(got *float64, want float64) bool { return got != nil && math.Abs(*got-want) < 0.5 }

// A worker's token read the command line of the node, and with it the cluster's key.
func TestProfilesAreForOperators(t *testing.T) {
	b := newBed(t)
	ask := func(token string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/cmdline", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		return w.Code
	}
	if got := ask("none"); got != http.StatusUnauthorized {
		t.Errorf("no token gets %d", got)
	}
	if got := ask(b.node.Token(t, auth.RoleSDK)); got != http.StatusForbidden {
		t.Errorf("a worker's token gets %d", got)
	}
	if got := ask(b.node.Token(t, auth.RoleAdmin)); got != http.StatusOK {
		t.Errorf("an admin's token gets %d", got)
	}
}

func TestPinsAreMovedAndReleasedAndThatIsAudited(t *testing.T) {
	b := newBed(t)
	one, run, stream, order := pinned(t, b, "gpu-1")
	other := b.node.Client(t).Register(t, worker("gpu-2", "w:w"))
	away := b.node.Client(t).Register(t, worker("gpu-3", "w:w"))
	b.node.Client(t).Listen(t, other)
	b.token = b.node.Token(t, auth.RoleAdmin)
	path := "/api/v1/stable/workflow-runs/" + string(run) + "/pin/"
	move := func(to fsm.WorkerID) string { return `{"workerId":"` + string(to) + `","reason":"rebalance"}` }
	wantFail(t, b.do(http.MethodPost, path+"move", move(other)), 409, "a task of the run is on its worker")
	stream.Failed(t, order, "again") // final: no retries
	wantFail(t, b.do(http.MethodPost, path+"move", move(other)), 409, "")
	b.post("tasks/replay", `{"externalIds":["`+string(run)+`"]}`, &struct{}{})
	next := stream.Next(t)
	stream.Started(t, next)
	wantFail(t, b.do(http.MethodPost, path+"move", `{"workerId":"`+string(other)+`"}`), 400, "reason")
	wantFail(t, b.do(http.MethodPost, path+"move", `{"workerId":"gpu-2","reason":"x"}`), 400, "workerId")
	wantFail(t, b.do(http.MethodPost, path+"release", `{"reason":" "}`), 400, "must say why")
	wantFail(t, b.do(http.MethodPost, path+"release", `{"reason":"x"}`), 409, "a task of the run is on its worker")
	stream.Close()
	b.cluster.LoseLease(t, one, "the test says so")
	wantFail(t, b.do(http.MethodPost, path+"move", move(away)), 409, "choose a live worker")
	var got struct{ WorkflowRunID, WorkerID string }
	b.read(http.MethodPost, path+"move", move(other), &got)
	if p, ok := b.cluster.View().Pin(run); !ok || p.Worker != other || got.WorkerID != string(other) {
		t.Errorf("the pin is %+v, the answer %+v", p, got)
	}
	var audit struct {
		Rows []struct{ Actor, Action, Target, From, To, Reason string }
	}
	b.read(http.MethodGet, "/api/v1/tenants/"+string(b.cluster.Tenant)+"/audit", "", &audit)
	if len(audit.Rows) != 2 || audit.Rows[1].Action != "run replay" || audit.Rows[0].Action != "pin move" || audit.Rows[0].Target != string(run) || audit.Rows[0].From != string(one) ||
		audit.Rows[0].To != string(other) || audit.Rows[0].Reason != "rebalance" || len(audit.Rows[0].Actor) < len("token x") {
		t.Errorf("the audit is %+v", audit.Rows)
	}
}

func TestAWorkflowSaysWhatALostWorkerMeans(t *testing.T) {
	b := newBed(t)
	b.node.Client(t).Put(t, oneTask())
	b.token = b.node.Token(t, auth.RoleAdmin)
	w, _ := b.cluster.View().Workflow(b.cluster.Tenant, "w")
	path := "/api/v1/workflows/" + string(w.ID)
	var got struct{ OnLost string }
	b.read(http.MethodGet, path, "", &got)
	if got.OnLost != "wait" {
		t.Errorf("at first %q", got.OnLost)
	}
	b.read(http.MethodPatch, path, `{"onLost":"repin"}`, &got)
	if w, _ := b.cluster.View().WorkflowByID(w.ID); got.OnLost != "repin" || w.OnLost != fsm.OnLostRepin {
		t.Errorf("set to repin: %q, %s", got.OnLost, w.OnLost)
	}
	wantFail(t, b.do(http.MethodPatch, path, `{"onLost":"never"}`), 400, `onLost "never": must be wait, fail or repin`)
	wantFail(t, b.do(http.MethodPatch, path, `{}`), 400, "onLost")
}

func TestOnlyOperatorsOperate(t *testing.T) {
	b := newBed(t)
	id, run, _, _ := pinned(t, b, "gpu-1")
	w, _ := b.cluster.View().Workflow(b.cluster.Tenant, "w")
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/v1/workers/" + string(id) + "/drain", `{}`},
		{http.MethodPost, "/api/v1/workers/" + string(id) + "/resume", `{}`},
		{http.MethodPost, "/api/v1/stable/workflow-runs/" + string(run) + "/pin/release", `{"reason":"x"}`},
		{http.MethodPost, "/api/v1/stable/workflow-runs/" + string(run) + "/pin/move", `{"reason":"x","workerId":"` + string(id) + `"}`},
		{http.MethodPatch, "/api/v1/workflows/" + string(w.ID), `{"onLost":"fail"}`},
		{http.MethodGet, "/api/v1/tenants/" + string(b.cluster.Tenant) + "/audit", ``},
	} {
		wantFail(t, b.do(c.method, c.path, c.body), 403, "needs admin")
	}
	if got, _ := b.cluster.View().Worker(id); got.Mode != fsm.ModeActive {
		t.Errorf("the worker is %s", got.Mode)
	}
}
