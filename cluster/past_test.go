package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/history"
	"github.com/limpet-dev/limpet/fsm"
)

func pastRun(n int) *fsm.Archived {
	id := fmt.Sprintf("00000000-0000-7000-8000-%012d", n)
	return &fsm.Archived{
		Run:   &fsm.Run{ID: fsm.RunID(id), Status: fsm.Completed, Tasks: []fsm.TaskRunID{fsm.TaskRunID(id)}, FinishedAt: fsm.Instant(n)},
		Tasks: []*fsm.TaskRun{{ID: fsm.TaskRunID(id), Run: fsm.RunID(id), Status: fsm.Completed, Output: []byte(`{"n":1}`)}},
	}
}

// TestANodeWithAHoleInItsHistoryAsksTheOthers: one that came by a snapshot has
// not seen what the others forgot.
func TestANodeWithAHoleInItsHistoryAsksTheOthers(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	want := pastRun(1)
	b.nodes["node-1"].history.Add([]*fsm.Archived{want})
	for _, n := range b.nodes {
		got, err := n.Past(t.Context(), string(want.Run.ID))
		if err != nil || got == nil || !bytes.Equal(got.Encode(nil), want.Encode(nil)) {
			t.Errorf("%s finds %+v, %v", n.Name(), got, err)
		}
		if got, err := n.Past(t.Context(), string(pastRun(2).Run.ID)); got != nil || err != nil {
			t.Errorf("%s finds a run that never was: %+v, %v", n.Name(), got, err)
		}
	}
	b.kill("node-1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if got, err := b.nodes["node-2"].Past(ctx, string(want.Run.ID)); got != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("with the only node that has it away, a run is %+v, %v: it is not known that it does not exist", got, err)
	}
	b.start("node-1") // what it had not flushed was at its end
	if got, err := b.nodes["node-2"].Past(ctx, string(want.Run.ID)); got == nil || err != nil {
		t.Errorf("with the node back, the run is %+v, %v", got, err)
	}
}

func TestSearchesAtOtherNodesAreBounded(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	n := b.nodes["node-1"]
	for range maxPastCalls {
		n.pastCalls <- struct{}{}
	}
	if _, err := n.Past(t.Context(), string(pastRun(1).Run.ID)); !errors.Is(err, ErrOverloaded) {
		t.Errorf("a search beyond the limit gives %v", err)
	}
	for range maxPastCalls {
		<-n.pastCalls
	}
	if _, err := n.Past(t.Context(), string(pastRun(1).Run.ID)); err != nil {
		t.Errorf("a search within the limit gives %v", err)
	}
}

// shortLog is a log in which runs end for want of a worker and are forgotten.
func shortLog(t *testing.T) []*raft.Log {
	t.Helper()
	const tenant = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
	definition, err := proto.Marshal(&limpetv1.WorkflowDefinition{
		Name: "w", Tasks: []*limpetv1.TaskDefinition{{Name: "t", Action: "w:t", ScheduleTimeout: int64(time.Second)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var logs []*raft.Log
	at := fsm.Instant(0)
	add := func(cmds ...fsm.Command) {
		at = at.Add(10 * time.Second)
		data, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: at, Wall: int64(at)}, Commands: cmds}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, &raft.Log{Index: uint64(len(logs) + 1), Type: raft.LogCommand, Data: data})
	}
	add(bootstrap(),
		&limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{Settings: &limpetv1.Settings{RetentionAge: 1}}}},
		&limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
			TenantId: tenant, WorkflowId: string(workerID(1)), VersionId: string(workerID(2)), Definition: definition,
		}}},
	)
	for i := range 30 {
		add(&limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
			TenantId: tenant, Runs: []*limpetv1.RunSpec{{RunId: string(pastRun(i).Run.ID), Workflow: "w"}},
		}}})
	}
	return logs
}

// TestNoRunIsNeitherInTheStateNorInTheHistory crashes after every entry in turn,
// with a snapshot that was taken in the middle, and plays the rest of the log
// again.
func TestNoRunIsNeitherInTheStateNorInTheHistory(t *testing.T) {
	logs := shortLog(t)
	for crash := 12; crash <= len(logs); crash += 3 {
		dir := t.TempDir()
		open := func() (*machine, *history.Store) {
			h, err := history.Open(history.Config{Dir: dir, MaxAge: time.Hour, MaxBytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			f := newMachine(time.Now)
			f.onResults, f.onEffects, f.onRestore = func([]fsm.Result) {}, func([]fsm.Effect) {}, func() {}
			f.fatal = func(err error) { t.Error(err) }
			f.onForgotten, f.onSnapshot = h.Add, func() {
				if err := h.Flush(); err != nil {
					t.Error(err)
				}
			}
			return f, h
		}
		f, h := open()
		var snap memorySink
		for i, l := range logs[:crash] {
			f.ApplyBatch([]*raft.Log{l})
			if i == crash/2 {
				s, err := f.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Persist(&snap); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := h.Abandon(); err != nil { // what waits for the disk is lost
			t.Fatal(err)
		}
		f, h = open()
		if err := f.Restore(io.NopCloser(&snap)); err != nil {
			t.Fatal(err)
		}
		f.ApplyBatch(logs[crash/2+1:])
		kept := 0
		for i := range 30 {
			id := pastRun(i).Run.ID
			_, live := f.state().view.Run(id)
			a, past, err := h.Get(string(id))
			if err != nil || live == past {
				t.Errorf("crash after entry %d: run %d is in the state: %v, in the history: %v, %v", crash, i, live, past, err)
			}
			if a != nil {
				kept++
			}
		}
		if kept == 0 {
			t.Errorf("crash after entry %d: nothing was forgotten", crash)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// memorySink is a snapshot in memory.
type memorySink struct{ bytes.Buffer }

// ID implements raft.SnapshotSink.
func (*memorySink) ID() string { return "memory" }

// Cancel implements raft.SnapshotSink.
func (*memorySink) Cancel() error { return nil }

// Close implements raft.SnapshotSink.
func (*memorySink) Close() error { return nil }
