package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/admin"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a cluster, the service at one of its nodes, and an operator.
type bed struct {
	cluster *transporttest.Cluster
	node    *transporttest.Node
	admin   *admin.Service
	ctx     context.Context //nolint:containedctx // the operator's, for all calls
}

func newBed(t *testing.T) *bed {
	t.Helper()
	c := transporttest.New(t, transporttest.Config{Nodes: 1})
	n := c.Nodes[0]
	return &bed{
		cluster: c, node: n, admin: admin.New(admin.Config{Backend: n, Hub: n.Hub, Now: c.Wall}),
		ctx: auth.WithClaims(t.Context(), &auth.Claims{Tenant: c.Tenant, Role: auth.RoleAdmin, TokenID: "t-1"}),
	}
}

// hard makes a worker, and a HARD run that it has started.
func (b *bed) hard(t *testing.T) (fsm.WorkerID, fsm.RunID) {
	t.Helper()
	client := b.node.Client(t)
	client.Put(t, &compatv1.CreateWorkflowVersionRequest{
		Name: "W", Sticky: compatv1.StickyStrategy_HARD.Enum(), Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "w", Action: "w:w", Timeout: "60s"}},
	})
	id := b.worker(t, "gpu-1")
	s := client.Listen(t, id)
	run := client.Trigger(t, &compatv1.TriggerWorkflowRequest{Name: "w", Input: "{}"})
	s.Started(t, s.Next(t))
	return id, run
}

func (b *bed) worker(t *testing.T, name string) fsm.WorkerID {
	t.Helper()
	return b.node.Client(t).Register(t, &compat.WorkerRegisterRequest{
		WorkerName: name, Actions: []string{"w:w"}, SlotConfig: map[string]int32{"default": 2},
		Labels: map[string]*compat.WorkerLabels{"limpet.identity": {StrValue: new(name)}, "gpu": {StrValue: new("a100")}},
	})
}

func refused(t *testing.T, err error, code fsm.Code, field, part string) {
	t.Helper()
	no, ok := errors.AsType[*fsm.Refusal](err)
	if !ok || no.Code != code || no.Field != field || !strings.Contains(no.Error(), part) {
		t.Errorf("gives %v, want %v of %q with %q", err, code, field, part)
	}
}

func TestADrainTellsWhatItWaitsForAndIsAudited(t *testing.T) {
	b := newBed(t)
	id, run := b.hard(t)
	set, err := b.admin.SetMode(b.ctx, &limpetv1.SetModeRequest{
		Worker: "gpu-1", Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING, DeadlineMs: 20_000, Reason: "kernel",
	})
	if err != nil || set.GetWorkerId() != string(id) || len(set.GetDrain().GetBlockers()) != 1 || set.GetDrain().GetBlockers()[0].GetRunId() != string(run) {
		t.Fatalf("drain: %v, %v", set, err)
	}
	got, err := b.admin.GetWorker(b.ctx, &limpetv1.GetWorkerRequest{Worker: string(id)[:13]})
	w := got.GetWorker()
	if err != nil || w.GetMode() != "draining" || w.GetIdentity() != "gpu-1" || len(w.GetLabels()) != 1 || w.GetLabels()[0] != "gpu=a100" || len(got.GetPins()) != 1 {
		t.Errorf("the worker: %v, %v", got, err)
	}
	if d := got.GetDrain(); d.GetDrained() || d.GetDeadlineSeconds() < 19 || d.GetEtaSeconds() < 19 || d.GetEtaSeconds() > 20 {
		t.Errorf("the drain: %v", d)
	}
	b.cluster.Advance(21 * time.Second)
	for _, name := range []string{string(id), "gpu-1"} { // by its name too, though it is lost now
		if got, err = b.admin.GetWorker(b.ctx, &limpetv1.GetWorkerRequest{Worker: name}); err != nil || !got.GetDrain().GetDrained() {
			t.Errorf("%s after its deadline: %v, %v", name, got, err)
		}
	}
	acts, err := b.admin.ListAudit(b.ctx, &limpetv1.ListAuditRequest{})
	if err != nil || len(acts.GetActs()) == 0 {
		t.Fatalf("audit: %v, %v", acts, err)
	}
	if a := acts.GetActs()[len(acts.GetActs())-1]; a.GetActor() != "token t-1" || a.GetAction() != "worker drain" || a.GetReason() != "kernel" || a.GetTarget() != string(id) {
		t.Errorf("the audit says %v", a)
	}
}

// A name meant several workers as soon as the one that was drained had let go: it
// could not be resumed by the name that it was drained by.
func TestANameMeansTheWorkerThatIsToComeBack(t *testing.T) {
	b := newBed(t)
	register := func() fsm.WorkerID {
		return b.node.Client(t).Register(t, &compat.WorkerRegisterRequest{WorkerName: "gpu-2", Actions: []string{"w:w"}})
	}
	means := func(id fsm.WorkerID, when string) {
		t.Helper()
		got, err := b.admin.GetWorker(b.ctx, &limpetv1.GetWorkerRequest{Worker: "gpu-2"})
		if err != nil || got.GetWorker().GetId() != string(id) {
			t.Errorf("%s: %v, %v; want %s", when, got.GetWorker().GetId(), err, id)
		}
	}
	b.cluster.LoseLease(t, register(), "not heard of")
	drained := register()
	means(drained, "one is lost, one is there")
	if _, err := b.admin.SetMode(b.ctx, &limpetv1.SetModeRequest{Worker: "gpu-2", Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING}); err != nil {
		t.Fatal(err)
	}
	b.cluster.LoseLease(t, drained, "not heard of")
	means(drained, "one is lost, one has drained")
	means(register(), "another has come")
}

func TestModesThatAreWrongSayWhere(t *testing.T) {
	b := newBed(t)
	b.worker(t, "a")
	draining, paused := limpetv1.WorkerMode_WORKER_MODE_DRAINING, limpetv1.WorkerMode_WORKER_MODE_PAUSED
	for _, c := range []struct {
		name  string
		r     *limpetv1.SetModeRequest
		code  fsm.Code
		field string
		part  string
	}{
		{"nobody", &limpetv1.SetModeRequest{Worker: "b", Mode: draining}, fsm.CodeNotFound, "worker", "limpet worker list"},
		{"empty", &limpetv1.SetModeRequest{Mode: draining}, fsm.CodeNotFound, "worker", ""},
		{"past", &limpetv1.SetModeRequest{Worker: "a", Mode: draining, DeadlineMs: -1}, fsm.CodeInvalid, "deadline", "must not be negative"},
		{"no drain", &limpetv1.SetModeRequest{Worker: "a", Mode: paused, DeadlineMs: 1000}, fsm.CodeInvalid, "deadline", "drains only"},
		{"no mode", &limpetv1.SetModeRequest{Worker: "a", Mode: 9}, fsm.CodeInvalid, "mode", "must be active, paused or draining"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.admin.SetMode(b.ctx, c.r)
			refused(t, err, c.code, c.field, c.part)
		})
	}
}

func TestWorkflowsAreListedWithTheirPolicy(t *testing.T) {
	b := newBed(t)
	b.hard(t)
	_, err := b.admin.SetWorkflowPolicy(b.ctx, &limpetv1.SetWorkflowPolicyRequest{Workflow: "w", OnLost: "FAIL"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.admin.ListWorkflows(b.ctx, &limpetv1.ListWorkflowsRequest{})
	if err != nil || len(got.GetWorkflows()) != 1 {
		t.Fatal(got, err)
	}
	if w := got.GetWorkflows()[0]; w.GetName() != "w" && w.GetName() != "W" || w.GetSticky() != "HARD" || w.GetOnLost() != "fail" || w.GetTasks() != 1 || w.GetWorkers() != 1 {
		t.Errorf("it is %v", w)
	}
	_, err = b.admin.SetWorkflowPolicy(b.ctx, &limpetv1.SetWorkflowPolicyRequest{Workflow: "w", OnLost: "no"})
	refused(t, err, fsm.CodeInvalid, "on_lost", "must be wait, fail or repin")
	_, err = b.admin.SetWorkflowPolicy(b.ctx, &limpetv1.SetWorkflowPolicyRequest{Workflow: "none", OnLost: "fail"})
	refused(t, err, fsm.CodeNotFound, "workflow", "limpet workflow list")
}

func TestARunSaysWhatALostWorkerMeans(t *testing.T) {
	b := newBed(t)
	b.hard(t)
	res, err := b.admin.TriggerRun(b.ctx, &limpetv1.TriggerRunRequest{Workflow: "w", Metadata: `{"limpet.on_lost":"repin"}`})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := b.cluster.View().Run(fsm.RunID(res.GetId())); r.OnLost != fsm.OnLostRepin {
		t.Errorf("the run says %s", r.OnLost)
	}
	_, err = b.admin.TriggerRun(b.ctx, &limpetv1.TriggerRunRequest{Workflow: "w", Metadata: `{"limpet.on_lost":7}`})
	refused(t, err, fsm.CodeInvalid, "metadata.limpet.on_lost", "must be wait, fail or repin")
}

func TestMovesNeedAReasonAndALooseRun(t *testing.T) {
	b := newBed(t)
	_, run := b.hard(t)
	b.node.Client(t).Listen(t, b.worker(t, "gpu-2"))
	_, err := b.admin.MoveRunPin(b.ctx, &limpetv1.MoveRunPinRequest{RunId: string(run), Worker: "gpu-2"})
	refused(t, err, fsm.CodeInvalid, "reason", "must say why")
	_, err = b.admin.MoveRunPin(b.ctx, &limpetv1.MoveRunPinRequest{RunId: string(run), Worker: "gpu-2", Reason: "x"})
	refused(t, err, fsm.CodeConflict, "run_id", "a task of the run is on its worker")
	_, err = b.admin.ReleaseRunPin(b.ctx, &limpetv1.ReleaseRunPinRequest{RunId: string(run), Reason: ""})
	refused(t, err, fsm.CodeInvalid, "reason", "must say why")
}

func TestRunsOfAStateThatIsNoneAreRefused(t *testing.T) {
	b := newBed(t)
	b.hard(t)
	for status, runs := range map[string]int{"": 1, "running": 1, "RUNNING": 1, "failed": 0} {
		if got, err := b.admin.ListRuns(b.ctx, &limpetv1.ListRunsRequest{Status: status}); err != nil || len(got.GetRuns()) != runs {
			t.Errorf("%q gives %d runs, %v; want %d", status, len(got.GetRuns()), err, runs)
		}
	}
	_, err := b.admin.ListRuns(b.ctx, &limpetv1.ListRunsRequest{Status: "bogus"})
	refused(t, err, fsm.CodeInvalid, "status", `status "bogus": must be one of queued, running, completed, failed, cancelled`)
}

func TestARunIsTriggeredForAWorkerByItsName(t *testing.T) {
	b := newBed(t)
	id, _ := b.hard(t)
	client := b.node.Client(t)
	twins := make([]string, 2)
	for i := range twins {
		twin := client.Register(t, &compat.WorkerRegisterRequest{WorkerName: "twin", Actions: []string{"w:w"}})
		client.Listen(t, twin)
		twins[i] = string(twin)
	}
	for _, name := range []string{"gpu-1", string(id), string(id)[:35]} {
		res, err := b.admin.TriggerRun(b.ctx, &limpetv1.TriggerRunRequest{Workflow: "w", DesiredWorker: name})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if p, ok := b.cluster.View().Pin(fsm.RunID(res.GetId())); !ok || p.Worker != id || p.Cause != fsm.PinDesired {
			t.Errorf("%q: the pin is %+v", name, p)
		}
	}
	_, err := b.admin.TriggerRun(b.ctx, &limpetv1.TriggerRunRequest{Workflow: "w", DesiredWorker: "nobody"})
	refused(t, err, fsm.CodeNotFound, "worker", "limpet worker list")
	_, err = b.admin.TriggerRun(b.ctx, &limpetv1.TriggerRunRequest{Workflow: "w", DesiredWorker: "twin"})
	for _, twin := range twins {
		refused(t, err, fsm.CodeInvalid, "worker", twin)
	}
}

func TestAMoveWithoutAWorkerNamesThoseThatWouldDo(t *testing.T) {
	b := newBed(t)
	_, run := b.hard(t)
	_, err := b.admin.MoveRunPin(b.ctx, &limpetv1.MoveRunPinRequest{RunId: string(run)})
	refused(t, err, fsm.CodeInvalid, "worker", "no other worker that is live and active")
	client := b.node.Client(t)
	would := b.worker(t, "gpu-2")
	client.Listen(t, would)
	client.Listen(t, client.Register(t, &compat.WorkerRegisterRequest{WorkerName: "other", Actions: []string{"x:x"}}))
	_, err = b.admin.MoveRunPin(b.ctx, &limpetv1.MoveRunPinRequest{RunId: string(run)})
	refused(t, err, fsm.CodeInvalid, "worker", "must name the worker that gets the run; these would do: gpu-2 ("+string(would)+")")
	if strings.Contains(err.Error(), "other") || strings.Contains(err.Error(), "gpu-1") {
		t.Errorf("names a worker that would not do: %v", err)
	}
}
