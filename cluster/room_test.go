package cluster

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// nextTrigger and nextReport make commands that need not make sense.
func nextTrigger() fsm.Command {
	return &limpetv1.Command{RequestId: newRequestID(), Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{Runs: []*limpetv1.RunSpec{{}}}}}
}

func nextReport() fsm.Command {
	return &limpetv1.Command{RequestId: newRequestID(), Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{}}}
}

// TestAnOverloadRefusesNewWorkBeforeReports: work must be able to end when there
// is no room for more of it, at the node that takes calls and at the leader.
func TestAnOverloadRefusesNewWorkBeforeReports(t *testing.T) {
	const limit = 8
	f := newForwarder(func(context.Context) route { return nil }, time.Second, limit)
	q := newCommandQueue(limit)
	for i := range limit {
		_, err := f.register(nextTrigger(), forever)
		if room := i < limit/4*3; room != (err == nil) || !room && !errors.Is(err, ErrOverloaded) {
			t.Errorf("trigger %d at the node: %v", i, err)
		}
		if refused := q.put([]offer{{cmd: nextTrigger()}}); (i < limit/4*3) != (len(refused) == 0) {
			t.Errorf("trigger %d at the leader: refused %d", i, len(refused))
		}
	}
	for i := range limit {
		_, err := f.register(nextReport(), forever)
		if room := i < limit/4; room != (err == nil) {
			t.Errorf("report %d at the node: %v", i, err)
		}
		if refused := q.put([]offer{{cmd: nextReport()}}); (i < limit/4) != (len(refused) == 0) {
			t.Errorf("report %d at the leader: refused %d", i, len(refused))
		}
	}
}

func TestWhatWaitsIsBoundedByItsSize(t *testing.T) {
	f := newForwarder(func(context.Context) route { return nil }, time.Second, 1000)
	w, err := f.register(nextReport(), forever)
	if err != nil || f.table.bytes != len(w.data) {
		t.Fatalf("%d bytes wait of a command: %v", f.table.bytes, err)
	}
	f.table.bytes += maxWaitingBytes - 2*len(w.data)
	if _, err := f.register(nextTrigger(), forever); !errors.Is(err, ErrOverloaded) {
		t.Errorf("new work beyond its part of the limit: %v", err)
	}
	last, err := f.register(nextReport(), forever)
	if err != nil {
		t.Errorf("a report within the limit: %v", err)
	}
	if _, err := f.register(nextReport(), forever); !errors.Is(err, ErrOverloaded) {
		t.Errorf("a report beyond the limit: %v", err)
	}
	f.answer([]fsm.Result{{RequestID: last.id}})
	if _, err := f.register(nextReport(), forever); err != nil {
		t.Errorf("after an answer: %v", err)
	}
}

// TestWithoutALeaderWhoGaveUpIsForgotten: during an outage callers come, wait and
// leave, and nothing of them may pile up.
func TestWithoutALeaderWhoGaveUpIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(func(context.Context) route { return nil }, time.Second, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		stays := make(chan error, 1)
		go func() {
			_, err := f.propose(ctx, forever, nextTrigger())
			stays <- err
		}()
		synctest.Wait()
		for range 50 {
			errs := make(chan error, 100)
			for range cap(errs) {
				go func() {
					short, stop := context.WithTimeout(ctx, time.Second)
					defer stop()
					_, err := f.propose(short, forever, nextTrigger())
					errs <- err
				}()
			}
			for range cap(errs) {
				if err := <-errs; !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
			}
		}
		f.mu.Lock()
		kept, waiting := len(f.table.fresh), len(f.table.byID)
		size := f.table.bytes
		f.mu.Unlock()
		if waiting != 1 || kept > 200 || size > 100 {
			t.Errorf("after 5000 callers that gave up %d commands are kept for %d that wait, and %d bytes are counted", kept, waiting, size)
		}
		cancel()
		<-done
		if err := <-stays; !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	})
}

// TestEffectsWaitOnceEach: a sink that is slow keeps as many of them as there are
// things that can change.
func TestEffectsWaitOnceEach(t *testing.T) {
	f := newFanout(&fakeSink{})
	for i := range 10_000 {
		f.push([]fsm.Effect{{Kind: fsm.RunChanged, ID: strconv.Itoa(i % 10)}, {Kind: fsm.WorkerChanged, ID: "w"}})
	}
	if len(f.queue) != 11 || len(f.seen) != 11 {
		t.Errorf("%d effects wait of 11 things", len(f.queue))
	}
}
