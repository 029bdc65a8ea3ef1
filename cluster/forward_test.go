package cluster

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// answering is a route that has done with a command as soon as it has it.
type answering struct{ f *forwarder }

func (r *answering) send(batch []*waiter) ([]refusal, error) {
	for _, w := range batch {
		r.f.answer([]fsm.Result{{RequestID: w.id}})
	}
	return nil, nil
}

// A command that came in the moment between two looks at a table that was empty was
// counted as sent, and was sent when it had no answer after ResendAfter.
func TestACommandThatComesAsTheLastOneIsDoneIsSent(t *testing.T) {
	to := &answering{}
	f := newForwarder(func(context.Context) route { return to }, time.Hour, 100)
	to.f = f
	var steps atomic.Int64
	const often = 64
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := route(nil); ctx.Err() == nil; steps.Add(1) {
			last = f.step(ctx, last)
			if steps.Load()%often == 0 {
				runtime.Gosched() // for the sake of a machine with one processor
			}
		}
	}()
	defer func() { stop(); <-done }()
	const soon = 3 // that it is in the midst of, that which may find it, one more
	spins := 0
	for i := range 2_000 {
		w, err := f.register(register(i), forever)
		if err != nil {
			t.Fatal(err)
		}
		for before := steps.Load(); !isClosed(w.done); {
			if now := steps.Load(); now > before+soon && !isClosed(w.done) {
				t.Fatalf("command %d has no answer after %d steps", i, now-before)
			}
			if spins++; spins%often == 0 {
				runtime.Gosched()
			}
		}
	}
}

// A command that was refused and sent again held up those that were sent before it and
// are lost.
func TestALostCommandDoesNotWaitForOneThatIsSentAgainAndAgain(t *testing.T) {
	w, at := newWaiters(), time.Unix(1, 0)
	for _, id := range []string{"a", "b"} {
		w.add(id, register(1), nil, at)
	}
	w.take(maxBatchBytes, at)
	for range 3 {
		at = at.Add(time.Second)
		w.again("a")
		w.take(maxBatchBytes, at)
	}
	w.overdue(at.Add(-2 * time.Second))
	if list := w.take(maxBatchBytes, at); len(list) != 1 || list[0].id != "b" {
		t.Errorf("%d are sent again, want b", len(list))
	}
	w.overdue(at) // a, the last time that it was sent
	if list := w.take(maxBatchBytes, at); len(list) != 2 || w.repeats != 3 {
		t.Errorf("%d are sent again, %d in all; want 2 and 3", len(list), w.repeats)
	}
}
