package fsm_test

import (
	"io"
	"sync"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// A snapshot is written while the machine goes on reading the same objects. The
// race detector sees whether that writes to them.
func TestWritingASnapshotWritesToNoObject(t *testing.T) {
	b := newBed(t)
	b.do(&limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
		TenantId: testTenant, WorkerId: b.mint(), Name: "w", Actions: []string{"a:b"}, Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}},
	}}})
	view := b.m.View()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := view.WriteSnapshot(io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
}
