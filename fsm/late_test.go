package fsm_test

import (
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// A worker is told to give an attempt up and says that it has, by way of a node
// that does not know yet that the attempt is over.
func TestACancellationOfAnAttemptThatIsOverDoesNotEndTheNextOne(t *testing.T) {
	b := newBed(t)
	b.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, []taskSpec{{name: "a"}})
	b.register("one", 1, nil, "w:a")
	b.attach("one", "n1")
	b.trigger(&limpetv1.RunSpec{RunId: b.id("r"), Workflow: "w"})
	b.sleep(b.m.View().Settings().DeliveryTimeout) // not STARTED: taken back, and assigned again
	if got := b.task("r.a"); got.Status != fsm.Assigned || got.Attempt != 1 {
		t.Fatalf("the task run is %s at attempt %d, want ASSIGNED at 1", got.Status, got.Attempt)
	}
	res := b.do(reportCommand("cancelled", string(b.task("r.a").ID), 0, ""))
	if got := b.task("r.a"); got.Status != fsm.Assigned || res.Refusal == nil || res.Refusal.Code != fsm.CodeStale || b.fenced != 1 {
		t.Errorf("attempt 0 is cancelled: the task run is %s, the answer %v, fenced %d; want ASSIGNED, a refusal and 1", got.Status, res.Refusal, b.fenced)
	}
	if res := b.do(reportCommand("cancelled", string(b.task("r.a").ID), 1, "")); res.Refusal != nil || b.task("r.a").Status != fsm.Cancelled {
		t.Errorf("attempt 1 is cancelled: the task run is %s, the answer %v", b.task("r.a").Status, res.Refusal)
	}
	if res := b.do(&limpetv1.Command{Kind: &limpetv1.Command_ReportCancelled{ReportCancelled: &limpetv1.ReportCancelled{
		TenantId: "another", TaskRunId: string(b.task("r.a").ID), Attempt: 1,
	}}}); res.Refusal == nil || res.Refusal.Code != fsm.CodeNotFound {
		t.Errorf("of another tenant: %+v", res)
	}
	if res := b.do(reportCommand("cancelled", string(b.task("r.a").ID), 0, "")); !res.Ignored || b.fenced != 1 {
		t.Errorf("what is cancelled is cancelled again: %+v, fenced %d; want ignored, and not counted", res, b.fenced)
	}
}

// Of a short task only the end is reported, and a start may come behind the end.
func TestATaskOfWhichOnlyTheEndIsReportedHasBegun(t *testing.T) {
	for _, how := range []string{"completed", "failed", "cancelled"} {
		b := newBed(t)
		b.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, []taskSpec{{name: "a"}})
		b.register("one", 1, nil, "w:a")
		b.attach("one", "n1")
		b.trigger(&limpetv1.RunSpec{RunId: b.id("r"), Workflow: "w"})
		b.sleep(1)
		id := string(b.task("r.a").ID)
		if res := b.do(reportCommand(how, id, 0, "")); res.Refusal != nil {
			t.Fatal(res.Refusal)
		}
		ended := *b.task("r.a")
		if !ended.Status.Final() || ended.StartedWall == 0 || ended.StartedWall != ended.FinishedWall {
			t.Errorf("%s: it is %s, started at %d, finished at %d", how, ended.Status, ended.StartedWall, ended.FinishedWall)
		}
		if run, _ := b.m.View().Run(ended.Run); run.StartedWall != ended.StartedWall {
			t.Errorf("%s: its run has started at %d, it at %d", how, run.StartedWall, ended.StartedWall)
		}
		res := b.do(reportCommand("started", id, 0, ""))
		if how == "cancelled" { // as after a cancellation by somebody else
			if res.Refusal == nil || res.Refusal.Code != fsm.CodeStale {
				t.Errorf("cancelled, then started: %+v", res)
			}
		} else if res.Refusal != nil || !res.Ignored || b.task("r.a").StartedWall != ended.StartedWall {
			t.Errorf("%s, then started: %+v, started at %d", how, res, b.task("r.a").StartedWall)
		}
	}
	// One that is tried again has not begun its next attempt.
	r := newBed(t)
	r.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, []taskSpec{{name: "a", opts: map[string]string{"retries": "1"}}})
	r.register("one", 1, nil, "w:a")
	r.attach("one", "n1")
	r.trigger(&limpetv1.RunSpec{RunId: r.id("r"), Workflow: "w"})
	r.sleep(1)
	r.do(reportCommand("failed", string(r.task("r.a").ID), 0, ""))
	if got := r.task("r.a"); got.Attempt != 1 || got.StartedWall != 0 {
		t.Errorf("after a failure: at attempt %d, started at %d", got.Attempt, got.StartedWall)
	}
	// What no worker began has not begun.
	b := newBed(t)
	b.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, []taskSpec{{name: "a"}})
	b.trigger(&limpetv1.RunSpec{RunId: b.id("r"), Workflow: "w"})
	b.sleep(b.m.View().Settings().ScheduleTimeout)
	if got := b.task("r.a"); !got.Status.Final() || got.StartedWall != 0 {
		t.Errorf("without a worker: it is %s, started at %d", got.Status, got.StartedWall)
	}
}
