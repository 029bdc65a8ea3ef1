package rpc

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// behind is a node that has not applied an assignment yet.
type behind struct {
	transport.Backend
	view fsm.View
}

func (b behind) View() fsm.View { return b.view }

// The worker had its task from another node, which is ahead.
func TestACancellationIsNotDroppedByANodeThatIsBehind(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012x", n) }
	definition, err := proto.Marshal(&limpetv1.WorkflowDefinition{Name: "w", Tasks: []*limpetv1.TaskDefinition{{Name: "a", Action: "w:a"}}})
	if err != nil {
		t.Fatal(err)
	}
	m := fsm.NewMachine()
	m.Apply(&fsm.Entry{Stamp: fsm.Stamp{Instant: 1}, Commands: []fsm.Command{
		{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{TenantId: id(1), ClusterId: "c", KeyId: "k", Key: []byte{1}}}},
		{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
			TenantId: id(1), WorkflowId: id(2), VersionId: id(3), Definition: definition,
		}}},
		{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
			TenantId: id(1), Runs: []*limpetv1.RunSpec{{RunId: id(4), Workflow: "w"}},
		}}},
	}})
	d := dispatcher{Services: &Services{cfg: Config{Backend: behind{view: m.View()}}}}
	of := func(attempt int32) report { return report{taskRun: fsm.TaskRunID(id(4)), attempt: attempt} }
	if task, ok := m.View().TaskRun(of(0).taskRun); !ok || task.Status != fsm.Queued {
		t.Fatalf("the task run is %+v", task)
	}
	for _, attempt := range []int32{0, 1} {
		if d.cancelled(fsm.TenantID(id(1)), of(attempt)) == nil {
			t.Errorf("the end of attempt %d was dropped by a node that knows of its start only later", attempt)
		}
	}
}
