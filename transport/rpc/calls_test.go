package rpc_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestAWorkflowOfTheFirstFormIsRegisteredOnce(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	in := &compat.PutWorkflowRequest{Opts: &compat.CreateWorkflowVersionOpts{Name: "w", Version: "v7", Jobs: []*compat.CreateWorkflowJobOpts{
		{Name: "j", Steps: []*compat.CreateWorkflowStepOpts{{ReadableId: "a", Action: "w:a"}}},
	}}}
	first, err := client.Workflows.PutWorkflow(transporttest.Context(t), in)
	if err != nil {
		t.Fatal(err)
	}
	if first.GetOrder() != 1 || first.GetVersion() != "v7" || first.GetCreatedAt() == nil {
		t.Errorf("the version is %v", first)
	}
	again, err := client.Workflows.PutWorkflow(transporttest.Context(t), in)
	if err != nil || again.GetId() != first.GetId() || again.GetWorkflowId() != first.GetWorkflowId() {
		t.Errorf("the same registration gives %v, %v after %v", again, err, first)
	}
}

func TestTheNewerTriggerStartsARun(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("w"))
	resp, err := client.Admin.TriggerWorkflowRun(transporttest.Context(t), &compatv1.TriggerWorkflowRunRequest{
		WorkflowName: "W", Input: []byte(`{"n":1}`), AdditionalMetadata: []byte(`{"a":"b"}`), Priority: proto.Int32(2),
	})
	if err != nil {
		t.Fatal(err)
	}
	run, ok := cluster.View().Run(fsm.RunID(resp.GetExternalId()))
	if !ok || string(run.Input) != `{"n":1}` || string(run.Metadata) != `{"a":"b"}` || run.Priority != 2 {
		t.Errorf("the run is %+v", run)
	}
	details, err := client.Admin.GetRunDetails(transporttest.Context(t), &compatv1.GetRunDetailsRequest{ExternalId: resp.GetExternalId()})
	if err != nil || details.GetDone() || details.GetStatus() != compatv1.RunStatus_QUEUED || details.GetTaskRuns()["w"].GetStatus() != compatv1.RunStatus_QUEUED {
		t.Errorf("the details are %v, %v", details, err)
	}
}

func TestLabelsAreAddedToThoseOfTheRegistration(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	r := worker("w:w")
	r.Labels = map[string]*compat.WorkerLabels{"model": {StrValue: ptr("small")}, "zone": {StrValue: ptr("a")}}
	id := client.Register(t, r)
	_, err := client.Dispatcher.UpsertWorkerLabels(transporttest.Context(t), &compat.UpsertWorkerLabelsRequest{
		WorkerId: string(id), Labels: map[string]*compat.WorkerLabels{"model": {StrValue: ptr("large")}, "memory": {IntValue: proto.Int32(64)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := cluster.View().Worker(id)
	var got []string
	for i := range w.Labels {
		got = append(got, w.Labels[i].Key+"="+w.Labels[i].Value())
	}
	if text := strings.Join(got, " "); text != "memory=64 model=large zone=a" {
		t.Errorf("the labels are %s", text)
	}
}

func TestAWorkersOwnCancellationEndsTheAttemptItNames(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client := cluster.Nodes[0].Client(t)
	w := oneTask("w")
	w.Tasks[0].Retries = 1
	client.Put(t, w)
	stream := client.Listen(t, client.Register(t, worker("w:w")))
	run := client.Trigger(t, trigger("w", "{}"))
	first := stream.Next(t)
	stream.Failed(t, first, "again")
	second := stream.Next(t)
	const cancelled = compat.StepActionEventType_STEP_EVENT_TYPE_CANCELLED
	stream.Report(t, first, cancelled, "") // of an attempt that is over
	if r, _ := cluster.View().Run(run); r.Status.Final() {
		t.Fatalf("an old attempt made the run %s", r.Status)
	}
	stream.Report(t, second, cancelled, "")
	stream.Report(t, second, cancelled, "")
	if got := results(subscribe(t, client, run).next())["w"]; got != "!cancelled by its worker" {
		t.Errorf("the caller gets %q", got)
	}
}

func TestSessionsAreCounted(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	node := cluster.Nodes[0]
	client := node.Client(t)
	id := client.Register(t, worker("w:w"))
	client.Listen(t, id)
	if got := node.Hub.Sessions(); len(got) != 1 || got[0] != id || node.Counters.Sessions.Load() != 1 {
		t.Errorf("the sessions are %v, counted %d", got, node.Counters.Sessions.Load())
	}
	_, err := client.Admin.GetRunDetails(transporttest.Context(t), &compatv1.GetRunDetailsRequest{ExternalId: "x"})
	if err == nil || node.Counters.Refused()[fsm.CodeInvalid] != 1 {
		t.Errorf("a refusal was not counted: %v, %v", err, node.Counters.Refused())
	}
}
