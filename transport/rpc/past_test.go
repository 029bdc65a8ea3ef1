package rpc_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// forgotten is a cluster whose state has forgotten a run that completed.
func forgotten(t *testing.T) (*transporttest.Cluster, *transporttest.Client, fsm.RunID) {
	t.Helper()
	cluster := transporttest.New(t, transporttest.Config{Nodes: 2})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", `{}`))
	a := stream.Next(t)
	stream.Started(t, a)
	stream.Completed(t, a, `{"text":"hello"}`)
	cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{
		Settings: &limpetv1.Settings{RetentionAge: int64(time.Second)},
	}}})
	cluster.Advance(2 * time.Minute)
	if _, ok := cluster.View().Run(run); ok {
		t.Fatal("the state has not forgotten a finished run")
	}
	return cluster, client, run
}

// TestAForgottenRunsResultIsDelivered is I9 for who asks late.
func TestAForgottenRunsResultIsDelivered(t *testing.T) {
	cluster, client, run := forgotten(t)
	want := map[string]string{"w": `{"text":"hello"}`}
	for _, n := range cluster.Nodes {
		if diff := cmp.Diff(want, results(subscribe(t, n.Client(t), run).next())); diff != "" {
			t.Errorf("node %s: %s", n.Name(), diff)
		}
	}
	details, err := client.Admin.GetRunDetails(transporttest.Context(t), &compatv1.GetRunDetailsRequest{ExternalId: string(run)})
	if err != nil {
		t.Fatal(err)
	}
	if !details.GetDone() || string(details.GetTaskRuns()["w"].GetOutput()) != want["w"] {
		t.Errorf("the details are %v", details)
	}
}

func TestTheEventsOfAForgottenRunAreToldAndEnd(t *testing.T) {
	_, client, run := forgotten(t)
	stream, err := client.Dispatcher.SubscribeToWorkflowEvents(transporttest.Context(t), &compat.SubscribeToWorkflowEventsRequest{
		WorkflowRunId: new(string(run)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetHangup() {
			return
		}
	}
}

func TestAForgottenRunIsNotReplayed(t *testing.T) {
	_, client, run := forgotten(t)
	_, err := client.Admin.ReplayTasks(transporttest.Context(t), &compatv1.ReplayTasksRequest{ExternalIds: []string{string(run)}})
	wantStatus(t, err, codes.FailedPrecondition, "is in the history")
	got, err := client.Admin.CancelTasks(transporttest.Context(t), &compatv1.CancelTasksRequest{ExternalIds: []string{string(run)}})
	if err != nil || len(got.GetCancelledTasks()) != 0 {
		t.Errorf("to cancel a forgotten run gives %v, %v", got, err)
	}
}
