package fsm_test

import (
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// A node that is behind may pass on what a worker asks for itself after an operator
// has paused or drained it: the worker may ask for more, and never for less.
func TestAWorkerDoesNotUndoWhatAnOperatorAskedFor(t *testing.T) {
	const (
		active   = limpetv1.WorkerMode_WORKER_MODE_ACTIVE
		paused   = limpetv1.WorkerMode_WORKER_MODE_PAUSED
		draining = limpetv1.WorkerMode_WORKER_MODE_DRAINING
	)
	for _, c := range []struct {
		operator, worker limpetv1.WorkerMode
		refused          bool
	}{
		{paused, active, true},
		{draining, active, true},
		{draining, paused, true},
		{paused, draining, false},
		{active, paused, false},
		{active, active, false},
	} {
		b := newBed(t)
		id := b.mint()
		b.do(&limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
			TenantId: testTenant, WorkerId: id, Name: "w", Actions: []string{"a:b"}, Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}},
		}}})
		ask := func(mode limpetv1.WorkerMode, own bool) fsm.Result {
			return b.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
				TenantId: testTenant, WorkerId: id, Mode: mode, ByWorker: own,
			}}})
		}
		if r := ask(c.operator, false); r.Refusal != nil {
			t.Fatal(r.Refusal)
		}
		before, _ := b.m.Peek().Worker(fsm.WorkerID(id))
		r := ask(c.worker, true)
		after, _ := b.m.Peek().Worker(fsm.WorkerID(id))
		if (r.Refusal != nil) != c.refused || c.refused && after.Mode != before.Mode {
			t.Errorf("operator %v, worker %v: refusal %v, mode %v", c.operator, c.worker, r.Refusal, after.Mode)
		}
	}
}
