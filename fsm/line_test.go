package fsm_test

import (
	"bytes"
	"strings"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func TestLinesAndEventsAreKeptWithinTheirLimits(t *testing.T) {
	b := newBed(t)
	b.workflow("w", 0, []taskSpec{{name: "a", opts: map[string]string{}}})
	b.names["r"] = b.trigger(&limpetv1.RunSpec{RunId: b.mint(), Workflow: "w"}).IDs[0]
	id := b.task("r.a").ID
	line := strings.Repeat("x", 1<<20)
	for range 20 {
		b.do(&limpetv1.Command{Kind: &limpetv1.Command_PutLogs{PutLogs: &limpetv1.PutLogs{
			TenantId: testTenant, Lines: []*limpetv1.LogLine{{TaskRunId: string(id), Message: line}},
		}}})
	}
	kept := 0
	for l := range b.m.View().Logs(id) {
		kept += len(l.Message)
	}
	if kept == 0 || kept > fsm.MaxLineBytes {
		t.Errorf("%d bytes of lines are kept", kept)
	}
	for range 20 {
		b.do(&limpetv1.Command{Kind: &limpetv1.Command_PutChunks{PutChunks: &limpetv1.PutChunks{
			TenantId: testTenant, Chunks: []*limpetv1.Chunk{{TaskRunId: string(id), Index: -1, Message: bytes.Repeat([]byte("y"), 1<<20)}},
		}}})
	}
	if b.last.Refusal == nil || b.last.Refusal.Code != fsm.CodeExhausted {
		t.Errorf("a chunk past the limit gives %v", b.last.Refusal)
	}
	var first string
	for i := range 1100 {
		e := &limpetv1.Event{Id: b.mint(), Key: "k", Payload: []byte(`{"n":1}`)}
		if i == 0 {
			first = e.GetId()
		}
		b.do(&limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{TenantId: testTenant, Events: []*limpetv1.Event{e}}}})
	}
	if _, ok := b.m.View().Event(first); ok {
		t.Error("the oldest of 1,100 events is still kept")
	}
	replay(t, b)
}
