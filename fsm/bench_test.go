package fsm_test

import (
	"fmt"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// BenchmarkOneTaskRun is a run's whole way through machine and scheduler, as the
// leader goes it: trigger with its assignment, started, completed, each followed
// by the view that readers get.
func BenchmarkOneTaskRun(b *testing.B) {
	for _, parked := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("parked=%d", parked), func(b *testing.B) { benchOneTaskRun(b, parked) })
	}
}

func benchOneTaskRun(b *testing.B, parked int) {
	b.Helper()
	bed := newBed(b)
	bed.unchecked = true
	bed.workflow("w", limpetv1.Strategy_STRATEGY_HARD, []taskSpec{{name: "a", opts: map[string]string{"schedule": "1000h"}}})
	if parked > 0 {
		bed.register("gone", 1, nil, "w:a")
		bed.attach("gone", "node-1")
		bed.lose("gone")
		for range parked {
			bed.trigger(&limpetv1.RunSpec{RunId: bed.mint(), Workflow: "w", DesiredWorker: bed.id("gone")})
		}
	}
	bed.register("one", 100, nil, "w:a")
	bed.attach("one", "node-1")
	b.ReportAllocs()
	for b.Loop() {
		id := bed.mint()
		bed.entries = nil
		bed.trigger(&limpetv1.RunSpec{RunId: id, Workflow: "w", Input: []byte(`{}`)})
		bed.do(reportCommand("started", id, 0, ""))
		bed.do(reportCommand("completed", id, 0, ""))
		bed.m.View()
	}
	if r, ok := bed.m.Peek().Run(fsm.RunID(fmt.Sprintf("00000000-0000-7000-8000-%012x", bed.minted))); !ok || !r.Status.Final() {
		b.Fatal("the last run did not end")
	}
}
