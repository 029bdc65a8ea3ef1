package rpc_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestAWorkerThatComesBackGetsOnlyWhatItHasNotStarted(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2})
	first, second := cluster.Nodes[0].Client(t), cluster.Nodes[1].Client(t)
	first.Put(t, oneTask("w"))
	id := first.Register(t, worker("w:w"))
	stream := first.Listen(t, id)
	started := first.Trigger(t, trigger("w", `{"n":1}`))
	a := stream.Next(t)
	stream.Started(t, a)
	waiting := first.Trigger(t, trigger("w", `{"n":2}`))
	stream.Next(t)

	again := second.Listen(t, id)
	b := again.Next(t)
	if b.GetWorkflowRunId() != string(waiting) || b.GetRetryCount() != 0 {
		t.Errorf("run %s was sent again, want %s", b.GetWorkflowRunId(), waiting)
	}
	wantStatus(t, stream.End(), codes.Unavailable, "newer stream")
	third := first.Trigger(t, trigger("w", `{"n":3}`))
	if c := again.Next(t); c.GetWorkflowRunId() != string(third) {
		t.Errorf("run %s was sent, want %s", c.GetWorkflowRunId(), third)
	}
	// What was started on the old stream is reported through the new node.
	again.Completed(t, a, "{}")
	if r, _ := cluster.View().Run(started); r.Status != fsm.Completed {
		t.Errorf("the run is %s", r.Status)
	}
}

func TestWhatWasDeliveredIsNotSentAgainWhileItsStartIsReported(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2, RedeliverAfter: time.Hour})
	first, second := cluster.Nodes[0].Client(t), cluster.Nodes[1].Client(t)
	first.Put(t, oneTask("w"))
	id := first.Register(t, worker("w:w"))
	stream := first.Listen(t, id)
	first.Trigger(t, trigger("w", `{"n":1}`))
	a := stream.Next(t)

	again := second.Listen(t, id)
	again.Started(t, a) // the report that the first node did not take any more
	next := first.Trigger(t, trigger("w", `{"n":2}`))
	if b := again.Next(t); b.GetWorkflowRunId() != string(next) {
		t.Errorf("run %s was sent, want %s", b.GetWorkflowRunId(), next)
	}
}

func TestANewerStreamAtTheSameNodeTakesOver(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	old := client.Listen(t, id)
	now := client.Listen(t, id)
	wantStatus(t, old.End(), codes.Unavailable, "newer stream")
	run := client.Trigger(t, trigger("w", "{}"))
	if a := now.Next(t); a.GetWorkflowRunId() != string(run) {
		t.Errorf("the order is %v", a)
	}
}

func TestAnIsolatedNodeSendsItsStreamsAway(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
	stream.Next(t)

	node.Hub.SetIsolated(true)
	wantStatus(t, stream.End(), codes.Unavailable, "majority")
	_, err := s.stream.Recv()
	wantStatus(t, err, codes.Unavailable, "majority")
	refused, err := client.Dispatcher.ListenV2(transporttest.Context(t), &compat.WorkerListenRequest{WorkerId: string(id)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = refused.Recv()
	wantStatus(t, err, codes.Unavailable, "majority")

	node.Hub.SetIsolated(false)
	if a := client.Listen(t, id).Next(t); a.GetTaskName() != "w" {
		t.Errorf("the order is %v", a)
	}
}

func TestAStoppingNodeEndsItsStreamsWithUnavailable(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	s := subscribe(t, client, client.Trigger(t, trigger("w", "{}")))
	stream.Next(t)
	node.Stop()
	wantStatus(t, stream.End(), codes.Unavailable, "shutting down")
	_, err := s.stream.Recv()
	wantStatus(t, err, codes.Unavailable, "shutting down")
	if err := node.Hub.Close(transporttest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if w, _ := cluster.View().Worker(id); w.Lease.State == fsm.LeaseLive {
		t.Errorf("the lease is still %s", w.Lease.State)
	}
}

func TestABrokenStreamMakesTheLeaseSuspect(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	stream.Close()
	_ = stream.End()
	// The server's side ends a moment after the client's.
	node.Stop()
	if err := node.Hub.Close(transporttest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if w, _ := cluster.View().Worker(id); w.Lease.State != fsm.LeaseSuspect {
		t.Errorf("the lease is %s", w.Lease.State)
	}
}

func TestASessionThatTheClusterGaveUpAttachesAgain(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_SuspectSessions{
		SuspectSessions: &limpetv1.SuspectSessions{Node: string(node.Name()), Reason: "the node is gone"},
	}})
	client.Trigger(t, trigger("w", "{}"))
	stream.Next(t)
	if w, _ := cluster.View().Worker(id); w.Lease.State != fsm.LeaseLive {
		t.Errorf("the lease is %s", w.Lease.State)
	}
}

func TestALossDecidedBeforeTheSessionAttachedAgainChangesNothing(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	judged, _ := cluster.View().Worker(id) // the suspicion changes neither epoch nor session
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_SuspectSessions{
		SuspectSessions: &limpetv1.SuspectSessions{Node: string(node.Name()), Reason: "the node is gone"},
	}})
	client.Trigger(t, trigger("w", "{}"))
	stream.Next(t)
	res := cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_LoseLease{LoseLease: &limpetv1.LoseLease{
		WorkerId: string(id), Epoch: judged.Lease.Epoch, Session: string(judged.Lease.Session), Reason: "no heartbeat",
	}}})
	if w, _ := cluster.View().Worker(id); res.Refusal == nil || w.Lease.State != fsm.LeaseLive {
		t.Errorf("the lease is %s and the answer %v, want live and a refusal", w.Lease.State, res.Refusal)
	}
}

// A node that was wrongly thought dead keeps the stream of a draining worker, which
// still has something to finish.
func TestADrainingWorkerKeepsItsStreamWhenItsNodeWasThoughtDead(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	run := client.Trigger(t, trigger("w", "{}"))
	stream.Started(t, stream.Next(t))
	client.Trigger(t, trigger("w", "{}")) // the worker still has this one in the end
	stream.Started(t, stream.Next(t))
	w, _ := cluster.View().Worker(id)
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
		TenantId: string(w.Tenant), WorkerId: string(id), Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING,
	}}})
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_SuspectSessions{
		SuspectSessions: &limpetv1.SuspectSessions{Node: string(node.Name()), Reason: "the node is gone"},
	}})
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{
		TenantId: string(w.Tenant), Ids: []string{string(run)},
	}}})
	// What comes down the stream shows that it is served.
	if a := stream.Next(t); a.GetActionType() != compat.ActionType_CANCEL_STEP_RUN || a.GetWorkflowRunId() != string(run) {
		t.Errorf("the order is %v", a)
	}
}

func TestAStreamEndsWhenItsLeaseIsLost(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	run := client.Trigger(t, trigger("w", "{}"))
	a := stream.Next(t)
	stream.Started(t, a)
	w, _ := cluster.View().Worker(id)
	res := cluster.LoseLease(t, id, "not heard of")
	if res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
	wantStatus(t, stream.End(), codes.Unavailable, "not heard of")
	// It lives: it comes back, is admitted with a higher epoch, and gets the
	// task run with the next attempt.
	again := client.Listen(t, id)
	b := again.Next(t)
	if b.GetWorkflowRunId() != string(run) || b.GetRetryCount() <= a.GetRetryCount() {
		t.Errorf("the order is %v", b)
	}
	if now, _ := cluster.View().Worker(id); now.Lease.Epoch <= w.Lease.Epoch {
		t.Errorf("the epoch is %d after %d", now.Lease.Epoch, w.Lease.Epoch)
	}
}

func TestAWorkerThatHasLeftIsNotBroughtBackByItsOpenStream(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	client.Trigger(t, trigger("w", "{}"))
	a := stream.Next(t)
	if _, err := client.Dispatcher.Unsubscribe(transporttest.Context(t), &compat.WorkerUnsubscribeRequest{WorkerId: string(id)}); err != nil {
		t.Fatal(err)
	}
	stream.Completed(t, a, "{}") // finished after the goodbye
	stream.Close()
	_ = stream.End()
	cluster.Nodes[0].Stop()
	if err := cluster.Nodes[0].Hub.Close(transporttest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if w, _ := cluster.View().Worker(id); w.Lease.State != fsm.LeaseLost || w.Lease.Epoch != 1 {
		t.Errorf("the lease is %s at epoch %d", w.Lease.State, w.Lease.Epoch)
	}
}

func TestCallsAreHeldDuringAnElection(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream := client.Listen(t, id)
	client.Trigger(t, trigger("w", "{}"))
	a := stream.Next(t)

	cluster.SetLeader(false)
	if _, err := client.Dispatcher.Heartbeat(transporttest.Context(t), &compat.HeartbeatRequest{WorkerId: string(id)}); err != nil {
		t.Errorf("a heartbeat needs a leader: %v", err)
	}
	done := make(chan error, 2)
	go func() {
		_, err := client.Dispatcher.SendStepActionEvent(transporttest.Context(t), &compat.StepActionEvent{
			TaskRunExternalId: a.GetTaskRunExternalId(), EventType: compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, EventPayload: "{}",
		})
		done <- err
	}()
	go func() {
		_, err := client.Workflows.TriggerWorkflow(transporttest.Context(t), trigger("w", "{}"))
		done <- err
	}()
	cluster.SetLeader(true)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stream.Next(t)
}

func TestWithoutALeaderCallsEndUnavailable(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{Hold: 10 * time.Millisecond})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	cluster.SetLeader(false)
	_, err := client.Workflows.TriggerWorkflow(transporttest.Context(t), trigger("w", "{}"))
	wantStatus(t, err, codes.Unavailable, "start workflow w: the cluster did not confirm it")
	// Whether an unknown worker exists cannot be told: it is not sent away.
	const unknown = "0190d3a4-0000-7000-8000-00000000000a"
	if _, err := client.Dispatcher.Heartbeat(transporttest.Context(t), &compat.HeartbeatRequest{WorkerId: unknown}); err != nil {
		t.Error(err)
	}
	stream, err := client.Dispatcher.ListenV2(transporttest.Context(t), &compat.WorkerListenRequest{WorkerId: unknown})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unavailable, "cannot tell")
}

func TestSubscribersSurviveAReset(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	client.Put(t, oneTask("w"))
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", "{}"))
	s := subscribe(t, client, run)
	a := stream.Next(t)
	node.Hub.Reset()
	stream.Completed(t, a, `{"n":1}`)
	node.Hub.Reset()
	if got := results(s.next())["w"]; got != `{"n":1}` {
		t.Errorf("the result is %q", got)
	}
}

func TestAnOlderStreamVouchesForItsWorker(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	id := client.Register(t, worker("w:w"))
	stream, err := client.Dispatcher.Listen(transporttest.Context(t), &compat.WorkerListenRequest{WorkerId: string(id)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	if cluster.Nodes[0].Vouched(id) == 0 {
		t.Error("the stream did not vouch for its worker")
	}
	run := client.Trigger(t, trigger("w", "{}"))
	if a, err := stream.Recv(); err != nil || a.GetWorkflowRunId() != string(run) {
		t.Errorf("the stream gives %v, %v", a, err)
	}
}
