package rpc_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// process is one start of a worker's program, as the agent and the Go SDK speak
// for it.
type process struct {
	t           testing.TB
	client      *transporttest.Client
	incarnation string
}

func (p process) ctx() context.Context {
	return metadata.AppendToOutgoingContext(transporttest.Context(p.t), limpetv1.HeaderIncarnation, p.incarnation, limpetv1.HeaderMember, "member-"+p.incarnation)
}

func (p process) register(identity, generation string) (fsm.WorkerID, error) {
	r := worker("w:w")
	r.Labels = map[string]*compat.WorkerLabels{
		limpetv1.LabelIdentity: {StrValue: &identity}, limpetv1.LabelGeneration: {StrValue: &generation}, "gpu": {StrValue: new("a100")},
	}
	res, err := p.client.Dispatcher.Register(p.ctx(), r)
	return fsm.WorkerID(res.GetWorkerId()), err
}

func (p process) listen(id fsm.WorkerID) (compat.Dispatcher_ListenV2Client, error) {
	s, err := p.client.Dispatcher.ListenV2(p.ctx(), &compat.WorkerListenRequest{WorkerId: string(id)})
	if err == nil {
		_, err = s.Header()
	}
	return s, err
}

func (p process) must(id fsm.WorkerID, err error) fsm.WorkerID {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p process) exit(id fsm.WorkerID) {
	p.t.Helper()
	_, err := limpetv1.NewMemberClient(p.client.Conn).ReportExit(transporttest.Context(p.t), &limpetv1.ReportExitRequest{
		WorkerId: string(id), Incarnation: p.incarnation, Reason: "killed by signal 9",
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestARestartedProcessGetsItsWorkerIDBack(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2})
	one := process{t, cluster.Nodes[0].Client(t), "p1"}
	two := process{t, cluster.Nodes[1].Client(t), "p2"}
	one.client.Put(t, oneTask("w"))
	id := one.must(one.register("gpu-1", "g1"))
	if _, err := one.listen(id); err != nil {
		t.Fatal(err)
	}
	run := one.client.Trigger(t, trigger("w", `{}`))
	one.exit(id)
	one.exit(id) // told twice
	if got := two.must(two.register("gpu-1", "g1")); got != id {
		t.Fatalf("the second start is worker %s, want %s", got, id)
	}
	stream, err := two.listen(id)
	if err != nil {
		t.Fatal(err)
	}
	a, err := stream.Recv()
	if err != nil || a.GetWorkflowRunId() != string(run) || a.GetRetryCount() != 1 {
		t.Fatalf("got order %v and error %v, want attempt 1 of run %s", a, err, run)
	}
	w, _ := cluster.View().Worker(id)
	if w.Lease.Epoch != 2 || w.Member != "member-p2" || w.Identity != "gpu-1" {
		t.Errorf("the worker is %+v", w)
	}
	// The first process is told to stop, whatever it tries.
	zombie, err := one.client.Dispatcher.ListenV2(one.ctx(), &compat.WorkerListenRequest{WorkerId: string(id)})
	if err == nil {
		_, err = zombie.Recv()
	}
	wantStatus(t, err, codes.FailedPrecondition, "newer start")
	_, err = one.client.Dispatcher.Heartbeat(one.ctx(), &compat.HeartbeatRequest{WorkerId: string(id)})
	wantStatus(t, err, codes.FailedPrecondition, "newer start")
	if w, _ := cluster.View().Worker(id); w.Lease.State != fsm.LeaseLive {
		t.Errorf("the zombie ended the lease of the second start: %s", w.Lease.Reason)
	}
}

func TestARegistrationWaitsForTheIdentityToBeFree(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{RegisterHold: transporttest.Patience})
	one := process{t, cluster.Nodes[0].Client(t), "p1"}
	two := process{t, cluster.Nodes[0].Client(t), "p2"}
	id := one.must(one.register("gpu-1", ""))
	if _, err := one.listen(id); err != nil {
		t.Fatal(err)
	}
	got := make(chan fsm.WorkerID, 1)
	go func() {
		id, err := two.register("gpu-1", "")
		if err != nil {
			t.Error(err)
		}
		got <- id
	}()
	select {
	case <-got:
		t.Fatal("two processes have the identity")
	case <-time.After(200 * time.Millisecond): // whatever the machine does, it must not have it yet
	}
	one.exit(id)
	if second := <-got; second != id {
		t.Errorf("the second process is worker %s, want %s", second, id)
	}
}

func TestARegistrationGivesUpWhileTheIdentityIsHeld(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{RegisterHold: time.Nanosecond})
	one := process{t, cluster.Nodes[0].Client(t), "p1"}
	id := one.must(one.register("gpu-1", ""))
	if _, err := one.listen(id); err != nil {
		t.Fatal(err)
	}
	_, err := process{t, one.client, "p2"}.register("gpu-1", "")
	wantStatus(t, err, codes.Unavailable, "gpu-1", "lease is live")
	_, err = process{t, one.client, "p3"}.register(" ", "")
	wantStatus(t, err, codes.InvalidArgument, limpetv1.LabelIdentity, "must not be empty")
}

func TestAPlaceWithoutItsStateIsAnotherWorker(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	one := process{t, cluster.Nodes[0].Client(t), "p1"}
	id := one.must(one.register("gpu-1", "g1"))
	one.exit(id)
	two := process{t, one.client, "p2"}
	if got := two.must(two.register("gpu-1", "g2")); got == id {
		t.Error("a place whose state is gone got the old worker id")
	}
}

func TestARepeatedCallWithItsRequestIDAppliesOnce(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2})
	first, second := cluster.Nodes[0].Client(t), cluster.Nodes[1].Client(t)
	first.Put(t, oneTask("w"))
	ctx := metadata.AppendToOutgoingContext(transporttest.Context(t), limpetv1.HeaderRequestID, "5b2ad1be-0000-7000-8000-000000000001")
	call := func(c *transporttest.Client) string {
		res, err := c.Workflows.TriggerWorkflow(ctx, &compatv1.TriggerWorkflowRequest{Name: "w", Input: "{}"})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetWorkflowRunId()
	}
	if a, b := call(first), call(second); a != b {
		t.Errorf("one call, repeated at another node, started runs %s and %s", a, b)
	}
	if n := cluster.View().Counts().Runs; n != 1 {
		t.Errorf("%d runs were started, want 1", n)
	}
	// The same id for another method is another call.
	if _, err := second.Events.Push(ctx, &compat.PushEventRequest{Key: "k", Payload: "{}"}); err != nil {
		t.Fatal(err)
	}
	first.Register(t, worker("w:w"))
}

func TestADrainedWorkerIsToldSoAndLeaves(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	client.Trigger(t, trigger("w", `{}`))
	a := stream.Next(t)
	stream.Started(t, a)
	w, _ := cluster.View().Worker(id)
	drain := func() *limpetv1.DrainInfo {
		ctx := metadata.AppendToOutgoingContext(transporttest.Context(t), limpetv1.HeaderIncarnation, w.Incarnation)
		res, err := limpetv1.NewMemberClient(client.Conn).DrainWorker(ctx, &limpetv1.DrainWorkerRequest{
			WorkerId: string(id), DeadlineMs: 30000, Reason: "stopping",
		})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetDrain()
	}
	d := drain()
	if d.GetDrained() || len(d.GetBlockers()) != 1 || d.GetBlockers()[0].GetTask() != "w" || d.GetDeadlineSeconds() != 30 {
		t.Errorf("the drain is %v", d)
	}
	stream.Completed(t, a, "{}")
	if d = drain(); !d.GetDrained() || len(d.GetBlockers()) != 0 {
		t.Errorf("the drain is %v after the last task", d)
	}
	if w, _ := cluster.View().Worker(id); w.Lease.State != fsm.LeaseLost {
		t.Errorf("the lease is %s", w.Lease.State)
	}
	_, err := limpetv1.NewMemberClient(client.Conn).DrainWorker(transporttest.Context(t), &limpetv1.DrainWorkerRequest{WorkerId: "x"})
	wantStatus(t, err, codes.InvalidArgument, "worker_id", "UUID")
	// Another process's drain is an operator's affair.
	_, err = limpetv1.NewMemberClient(client.Conn).DrainWorker(transporttest.Context(t), &limpetv1.DrainWorkerRequest{WorkerId: string(id)})
	wantStatus(t, err, codes.InvalidArgument, "limpet-incarnation", "limpet worker drain")
	other := metadata.AppendToOutgoingContext(transporttest.Context(t), limpetv1.HeaderIncarnation, "another")
	_, err = limpetv1.NewMemberClient(client.Conn).DrainWorker(other, &limpetv1.DrainWorkerRequest{WorkerId: string(id)})
	wantStatus(t, err, codes.FailedPrecondition, "a newer start of the process")
	_, err = limpetv1.NewMemberClient(client.Conn).ReportExit(transporttest.Context(t), &limpetv1.ReportExitRequest{WorkerId: string(id)})
	wantStatus(t, err, codes.InvalidArgument, "incarnation")
}

func TestTheMetadataOfARunSaysWhatALostPinDoes(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	start := func(metadata string) error {
		_, err := client.Workflows.TriggerWorkflow(transporttest.Context(t), &compatv1.TriggerWorkflowRequest{
			Name: "w", Input: "{}", AdditionalMetadata: &metadata,
		})
		return err
	}
	if err := start(`{"limpet.on_lost":"Repin"}`); err != nil {
		t.Fatal(err)
	}
	for r := range cluster.View().Runs(true) {
		if r.OnLost != fsm.OnLostRepin {
			t.Errorf("the run's on_lost is %q", r.OnLost)
		}
	}
	wantStatus(t, start(`{"limpet.on_lost":"later"}`), codes.InvalidArgument, "limpet.on_lost", "later", "wait, fail or repin")
	wantStatus(t, start(`{"limpet.on_lost":3}`), codes.InvalidArgument, "limpet.on_lost", "wait, fail or repin")
}
