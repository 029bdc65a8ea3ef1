package limpet_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/client/internal/nodetest"
)

func triggered(t *testing.T, n *nodetest.Node) (*compatv1.TriggerWorkflowRequest, string) {
	t.Helper()
	c := n.Next(t, "TriggerWorkflow")
	return c.Request.(*compatv1.TriggerWorkflowRequest), c.Header.Get(limpetv1.HeaderRequestID)[0] //nolint:forcetypeassert // what the call gets
}

func TestARunIsStartedOnceThoughNodesSayNo(t *testing.T) {
	b := newBed(t)
	dag := limpet.NewWorkflow[in](b.client, "Dag", limpet.WithSticky(limpet.Soft))
	n := b.nodes[0]
	n.Fail("TriggerWorkflow", nodetest.Down(), nodetest.Down())
	ref, err := dag.RunNoWait(t.Context(), in{3}, limpet.WithRunMetadata(map[string]any{"k": "v"}), limpet.WithOnLost(limpet.OnLostRepin), limpet.WithRunWorker("w7"), limpet.WithRunPriority(3))
	if err != nil || ref.ID() != "run" {
		t.Fatal(ref, err)
	}
	first, id := triggered(t, n)
	for range 2 {
		if _, again := triggered(t, n); again != id {
			t.Errorf("a try has the request id %s, the first had %s", again, id)
		}
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(first.GetAdditionalMetadata()), &m); err != nil || m["k"] != "v" || m[limpetv1.MetadataOnLost] != "repin" {
		t.Errorf("the metadata is %s: %v", first.GetAdditionalMetadata(), err)
	}
	if first.GetInput() != `{"N":3}` || first.GetDesiredWorkerId() != "w7" || first.GetPriority() != 3 || first.ParentId != nil {
		t.Errorf("the request is %v", first)
	}
}

func TestARefusalEndsACall(t *testing.T) {
	b := newBed(t)
	dag := limpet.NewWorkflow[in](b.client, "dag")
	b.nodes[0].Fail("TriggerWorkflow", status.Error(codes.NotFound, `workflow "dag": no such workflow`))
	_, err := dag.Run(t.Context(), in{})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), `start workflow "dag"`) {
		t.Errorf("gives %v", err)
	}
}

func TestResultsAreTyped(t *testing.T) {
	b := newBed(t)
	task := limpet.NewStandaloneTask(b.client, "x", func(limpet.Context, in) (out, error) { return out{}, nil })
	go b.nodes[0].Finish(t, &compat.WorkflowRunEvent{WorkflowRunId: "run", Results: []*compat.StepRunResult{{TaskName: "x", Output: new(`{"N":4,"Worker":"w"}`)}}})
	if got, err := task.Run(t.Context(), in{}); err != nil || got != (out{4, "w"}) {
		t.Errorf("gives %v, %v", got, err)
	}
	go b.nodes[0].Finish(t, &compat.WorkflowRunEvent{WorkflowRunId: "run", Results: []*compat.StepRunResult{{TaskName: "x", Error: new("no disk")}}})
	_, err := task.Run(t.Context(), in{})
	failed, ok := errors.AsType[*limpet.RunError](err)
	if !ok || failed.Task != "x" || failed.Message != "no disk" || failed.RunID != "run" {
		t.Errorf("a failed run gives %v", err)
	}
}

func TestAChildFollowsItsParent(t *testing.T) {
	b := newBed(t)
	child := limpet.NewStandaloneTask(b.client, "child", func(limpet.Context, in) (out, error) { return out{}, nil }, limpet.WithSticky(limpet.Soft))
	parent := limpet.NewStandaloneTask(b.client, "parent", func(ctx limpet.Context, _ in) (out, error) {
		for _, sticky := range []bool{true, false} {
			if _, err := child.RunNoWait(ctx, in{}, limpet.WithRunSticky(sticky)); err != nil {
				return out{}, err
			}
		}
		// A context that is derived from the task's still belongs to it.
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := child.RunNoWait(derived, in{}, limpet.WithRunKey("k"))
		return out{}, err
	})
	b.run(t, limpet.WithWorkflows(parent, child))
	n := b.nodes[0]
	n.Stream(t).Send(order("parent:parent", 0))
	var got []*compatv1.TriggerWorkflowRequest
	for range 3 {
		r, _ := triggered(t, n)
		got = append(got, r)
	}
	for i, r := range got {
		if r.GetParentId() != "the-run" || r.GetParentTaskRunExternalId() != "task-run" || int(r.GetChildIndex()) != i {
			t.Errorf("child %d is %v", i, r)
		}
	}
	if got[0].GetDesiredWorkerId() != "w" || got[1].DesiredWorkerId != nil || got[2].GetChildKey() != "k" {
		t.Errorf("the children are %v", got)
	}
}

func TestWhatCannotBeDeclaredIsSaidAtTheWorker(t *testing.T) {
	b := newBed(t)
	fn := func(limpet.Context, in) (out, error) { return out{}, nil }
	twice := limpet.NewWorkflow[in](b.client, "twice")
	limpet.NewTask(twice, "a", fn)
	limpet.NewTask(twice, "A", fn)
	nameless := limpet.NewWorkflow[in](b.client, "nameless")
	limpet.NewTask(nameless, "", fn)
	empty := limpet.NewWorkflow[in](b.client, "empty")
	for _, c := range []struct {
		name string
		opts []limpet.WorkerOption
		want string
	}{
		{"no workflow", nil, "nothing to execute"},
		{"no task", []limpet.WorkerOption{limpet.WithWorkflows(empty)}, "empty"},
		{"no name", []limpet.WorkerOption{limpet.WithWorkflows(nameless)}, "name of a task must not be empty"},
		{"two of one name", []limpet.WorkerOption{limpet.WithWorkflows(limpet.NewStandaloneTask(b.client, "x", fn), limpet.NewStandaloneTask(b.client, "X", fn))}, `"x:x"`},
		{"twice", []limpet.WorkerOption{limpet.WithWorkflows(twice)}, `"A"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := limpet.NewWorker(b.client, "w", c.opts...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gives %v, want %q", err, c.want)
			}
		})
	}
}

func TestAClientSaysWhatItLacks(t *testing.T) {
	t.Setenv("HATCHET_CLIENT_TOKEN", "")
	t.Setenv("LIMPET_TOKEN", "")
	if _, err := limpet.New(limpet.WithEndpoints("a:1")); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without a token: %v", err)
	}
}
