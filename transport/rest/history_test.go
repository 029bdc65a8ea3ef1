package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// order is a workflow of two tasks, one after the other, and one for failures.
func order() *compatv1.CreateWorkflowVersionRequest {
	return &compatv1.CreateWorkflowVersionRequest{
		Name: "Order", Description: "ships things", Version: "v7", Sticky: new(compatv1.StickyStrategy_HARD),
		Tasks: []*compatv1.CreateTaskOpts{
			{ReadableId: "pack", Action: "order:pack", Timeout: "60s"},
			{ReadableId: "ship", Action: "order:ship", Timeout: "60s", Parents: []string{"pack"}},
		},
		OnFailureTask: &compatv1.CreateTaskOpts{ReadableId: "refund", Action: "order:refund", Timeout: "60s"},
	}
}

// history is a cluster in which runs of all kinds have happened, a minute after
// each other: good, a completed run of w; bad, a failed one; gone, a cancelled
// one; whole, an order that went well; broken, one that did not; and child, a
// run of w that waits and was spawned by broken's first task.
type history struct {
	*bed
	client *transporttest.Client
	stream *transporttest.Stream
	worker fsm.WorkerID
	other  fsm.WorkerID

	good, bad, gone, whole, broken, child fsm.RunID
}

const outputOfGood = `{"sum":3}`

func newHistory(t *testing.T) *history {
	t.Helper()
	b := newBed(t)
	h := &history{bed: b, client: b.node.Client(t)}
	h.client.Put(t, oneTask())
	h.client.Put(t, order())
	h.worker = h.client.Register(t, worker("main", "w:w", "order:pack", "order:ship", "order:refund"))
	h.stream = h.client.Listen(t, h.worker)
	h.other = h.client.Register(t, worker("idle", "w:w"))

	h.good = h.start(&compatv1.TriggerWorkflowRequest{Name: "w", Input: `{"a":1}`, AdditionalMetadata: new(`{"team":"red","n":7}`)})
	h.finish(outputOfGood)
	h.bad = h.start(&compatv1.TriggerWorkflowRequest{Name: "w", Input: `{}`, AdditionalMetadata: new(`{"team":"blue"}`)})
	h.fail("out of paper")
	h.gone = h.start(trigger())
	h.stream.Next(t)
	h.post("tasks/cancel", fmt.Sprintf(`{"externalIds":[%q]}`, h.gone), nil)
	h.stream.Next(t) // the order to stop
	h.whole = h.start(&compatv1.TriggerWorkflowRequest{Name: "order", Input: `{"item":"boat"}`})
	h.finish(`{"box":1}`)
	h.finish(`{"post":true}`)
	h.broken = h.start(&compatv1.TriggerWorkflowRequest{Name: "order", Input: `[1,2]`})
	first := h.stream.Next(t)
	h.stream.Started(t, first)
	h.pause()
	h.child = h.client.Trigger(t, &compatv1.TriggerWorkflowRequest{
		Name: "w", Input: `{}`, ParentId: new(string(h.broken)), ParentTaskRunExternalId: new(first.GetTaskRunExternalId()), ChildIndex: new(int32(0)),
	})
	h.stream.Failed(t, first, "no box")
	return h
}

// start starts a run a minute after what came before.
func (h *history) start(r *compatv1.TriggerWorkflowRequest) fsm.RunID {
	h.tb.Helper()
	h.cluster.Advance(time.Minute)
	return h.client.Trigger(h.tb, r)
}

// pause makes the worker take nothing more.
func (h *history) pause() {
	h.tb.Helper()
	var got workerSeen
	h.read(http.MethodPatch, "/api/v1/workers/"+string(h.worker), `{"isPaused":true}`, &got)
}

func (h *history) finish(output string) {
	h.tb.Helper()
	a := h.stream.Next(h.tb)
	h.stream.Started(h.tb, a)
	h.cluster.Advance(time.Second)
	h.stream.Completed(h.tb, a, output)
}

func (h *history) fail(text string) {
	h.tb.Helper()
	a := h.stream.Next(h.tb)
	h.stream.Started(h.tb, a)
	h.stream.Failed(h.tb, a, text)
}

// tenantPath is the path of a call within the tenant.
func (b *bed) tenantPath(call string) string {
	return "/api/v1/stable/tenants/" + string(b.cluster.Tenant) + "/" + call
}

func (b *bed) post(call, body string, into any) {
	b.tb.Helper()
	if into == nil {
		into = new(any)
	}
	b.read(http.MethodPost, b.tenantPath(call), body, into)
}

func (b *bed) get(path string, into any) {
	b.tb.Helper()
	b.read(http.MethodGet, path, "", into)
}

// names gives the names of runs, in the order of the ids.
func (h *history) names(ids []string) string {
	known := map[string]string{
		string(h.good): "good", string(h.bad): "bad", string(h.gone): "gone",
		string(h.whole): "whole", string(h.broken): "broken", string(h.child): "child",
	}
	var out []string
	for _, id := range ids {
		name, ok := known[id]
		if !ok {
			name = id
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// taskOf gives the id of a task run of a run by its task's name.
func (h *history) taskOf(run fsm.RunID, name string) string {
	h.tb.Helper()
	view := h.cluster.View()
	r, _ := view.Run(run)
	at := slices.IndexFunc(r.Tasks, func(id fsm.TaskRunID) bool {
		t, _ := view.TaskRun(id)
		return view.Task(t).Name == name
	})
	if at < 0 {
		h.tb.Fatalf("run %s has no task %q", run, name)
	}
	return string(r.Tasks[at])
}

// workflowID gives the id of a workflow by its name.
func (b *bed) workflowID(name string) string {
	b.tb.Helper()
	w, ok := b.cluster.View().Workflow(b.cluster.Tenant, name)
	if !ok {
		b.tb.Fatalf("no workflow %q", name)
	}
	return string(w.ID)
}

// wall is how the cluster's clock stands after so many minutes.
func (b *bed) wall(minutes int) string {
	return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339)
}
