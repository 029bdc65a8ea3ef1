package fsm_test

import (
	"fmt"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// BenchmarkOneTaskRun is a run's whole way through machine and scheduler, as the
// leader goes it: trigger with its assignment, started, completed, each followed
// by the view that readers get. Together says how many runs share an entry at each
// step. An operation is one run.
func BenchmarkOneTaskRun(b *testing.B) {
	for _, parked := range []int{0, 10_000, 100_000} {
		for _, together := range []int{1, 32} {
			b.Run(fmt.Sprintf("parked=%d/together=%d", parked, together), func(b *testing.B) { benchOneTaskRun(b, parked, together) })
		}
	}
}

func benchOneTaskRun(b *testing.B, parked, together int) {
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
	ids := make([]string, together)
	batch := make([]fsm.Command, together)
	step := func(command func(id string) fsm.Command) {
		for i, id := range ids {
			batch[i] = command(id)
		}
		bed.do(batch...)
		bed.m.View()
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += together {
		bed.entries = nil
		for i := range ids {
			ids[i] = bed.mint()
		}
		step(func(id string) fsm.Command {
			return &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
				TenantId: testTenant,
				Runs:     []*limpetv1.RunSpec{{RunId: id, Workflow: "w", Input: []byte(`{}`)}},
			}}}
		})
		step(func(id string) fsm.Command { return reportCommand("started", id, 0, "") })
		step(func(id string) fsm.Command { return reportCommand("completed", id, 0, "") })
	}
	if r, ok := bed.m.Peek().Run(fsm.RunID(fmt.Sprintf("00000000-0000-7000-8000-%012x", bed.minted))); !ok || !r.Status.Final() {
		b.Fatal("the last run did not end")
	}
}

// BenchmarkALostWorker is the loss of a worker's lease, and its return, beside so
// many HARD runs that are content to wait for it. It does not follow their number.
func BenchmarkALostWorker(b *testing.B) {
	for _, parked := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("parked=%d", parked), func(b *testing.B) {
			bed := newBed(b)
			bed.unchecked = true
			bed.workflow("w", limpetv1.Strategy_STRATEGY_HARD, []taskSpec{{name: "a", opts: map[string]string{"schedule": "1000h"}}})
			bed.register("gone", 1, nil, "w:a")
			for range parked {
				bed.trigger(&limpetv1.RunSpec{RunId: bed.mint(), Workflow: "w", DesiredWorker: bed.id("gone")})
			}
			bed.mode("gone", limpetv1.WorkerMode_WORKER_MODE_PAUSED)
			b.ReportAllocs()
			for b.Loop() {
				bed.attach("gone", "node-1")
				bed.lose("gone")
				bed.entries = nil
			}
		})
	}
}
