package admin_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/transport"
)

func TestAForgottenRunIsShownListedAndWaitedFor(t *testing.T) {
	b := newBed(t)
	_, live := b.hard(t)
	client := b.node.Client(t)
	run := client.Trigger(t, &compatv1.TriggerWorkflowRequest{Name: "w", Input: `{"a":1}`})
	if _, err := b.admin.CancelRun(b.ctx, &limpetv1.CancelRunRequest{Id: string(run)}); err != nil {
		t.Fatal(err)
	}
	b.cluster.Propose(t, &limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{
		Settings: &limpetv1.Settings{RetentionAge: 1, ExecutionTimeout: int64(time.Hour)},
	}}})
	b.cluster.Advance(14 * time.Second)
	if _, ok := b.cluster.View().Run(run); !ok {
		t.Fatal("a run was forgotten within 15 s of its end")
	}
	b.cluster.Advance(2 * time.Second)
	if _, ok := b.cluster.View().Run(run); ok {
		t.Fatal("the state has not forgotten a finished run")
	}
	got, err := b.admin.GetRun(b.ctx, &limpetv1.GetRunRequest{Id: string(run)})
	if err != nil || got.GetRun().GetStatus() != "CANCELLED" || got.GetInput() != `{"a":1}` || len(got.GetTasks()) != 1 {
		t.Errorf("the run is %v, %v", got, err)
	}
	waited, err := b.admin.WaitRun(b.ctx, &limpetv1.GetRunRequest{Id: string(run)})
	if err != nil || waited.GetRun().GetStatus() != "CANCELLED" {
		t.Errorf("to wait for it gives %v, %v", waited, err)
	}
	list, err := b.admin.ListRuns(b.ctx, &limpetv1.ListRunsRequest{})
	if err != nil || len(list.GetRuns()) != 2 || list.GetRuns()[0].GetId() != string(live) || list.GetRuns()[1].GetId() != string(run) {
		t.Errorf("the list is %v, %v", list, err)
	}
	if list, err = b.admin.ListRuns(b.ctx, &limpetv1.ListRunsRequest{Limit: 1}); err != nil || len(list.GetRuns()) != 1 || !list.GetMore() {
		t.Errorf("the list of one is %v, %v", list, err)
	}
	_, err = b.admin.ReplayRun(b.ctx, &limpetv1.ReplayRunRequest{Id: string(run)})
	if code := status.Code(transport.Status(err)); code != codes.FailedPrecondition {
		t.Errorf("to replay it gives %v: %v", code, err)
	}
}
