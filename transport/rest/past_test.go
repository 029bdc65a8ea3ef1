package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// forget makes the state forget the runs that have finished.
func (h *history) forget() {
	h.tb.Helper()
	h.cluster.Propose(h.tb, &limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{
		Settings: &limpetv1.Settings{RetentionAge: int64(time.Second)},
	}}})
	h.cluster.Advance(2 * time.Minute)
	if _, ok := h.cluster.View().Run(h.whole); ok {
		h.tb.Fatal("the state has not forgotten a finished run")
	}
}

func TestAForgottenRunIsToldAsBefore(t *testing.T) {
	h := newHistory(t)
	paths := []string{
		"/api/v1/stable/workflow-runs/" + string(h.whole), "/api/v1/stable/workflow-runs/" + string(h.bad),
		"/api/v1/stable/workflow-runs/" + string(h.whole) + "/status",
		"/api/v1/stable/tasks/" + h.taskOf(h.whole, "ship"),
	}
	read := func() (out []string) {
		for _, path := range paths {
			var got any
			h.get(path, &got)
			out = append(out, fmt.Sprint(got))
		}
		return out
	}
	before := read()
	h.forget()
	if after := read(); !slices.Equal(before, after) {
		t.Errorf("told before:\n%s\nand after the state forgot the runs:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestForgottenRunsAreListedAfterTheOthers(t *testing.T) {
	h := newHistory(t)
	list := func(query string) string {
		var got struct {
			Rows []taskSeen
		}
		h.get(h.tenantPath("workflow-runs?since="+h.wall(0)+query), &got)
		var ids []string
		for _, row := range got.Rows {
			ids = append(ids, row.WorkflowRunExternalID)
		}
		return h.names(ids)
	}
	queries := []string{"", "&statuses=FAILED", "&limit=2&offset=3", "&only_tasks=true&statuses=COMPLETED", "&worker_id=" + string(h.other)}
	var before []string
	for _, q := range queries {
		before = append(before, list(q))
	}
	h.forget()
	for i, q := range queries {
		if after := list(q); after != before[i] {
			t.Errorf("the list %q was %q and is %q", q, before[i], after)
		}
	}
}

func TestAForgottenRunCannotBeReplayedAndNeedsNoCancelling(t *testing.T) {
	h := newHistory(t)
	h.forget()
	body := `{"externalIds":["` + string(h.bad) + `"]}`
	wantFail(t, h.do(http.MethodPost, h.tenantPath("tasks/replay"), body), http.StatusConflict, "is in the history")
	var got struct{ IDs []string }
	h.post("tasks/cancel", body, &got)
	if len(got.IDs) != 0 {
		t.Errorf("to cancel a forgotten run ended %v", got.IDs)
	}
}
