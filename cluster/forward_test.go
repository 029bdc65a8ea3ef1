package cluster

import (
	"context"
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
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := route(nil); ctx.Err() == nil; steps.Add(1) {
			last = f.step(ctx, last)
		}
	}()
	defer func() { stop(); <-done }()
	const soon = 3 // that it is in the midst of, that which may find it, one more
	for i := range 5_000 {
		w, err := f.register(register(i), forever)
		if err != nil {
			t.Fatal(err)
		}
		for before := steps.Load(); !isClosed(w.done); {
			if now := steps.Load(); now > before+soon && !isClosed(w.done) {
				t.Fatalf("command %d has no answer after %d steps", i, now-before)
			}
		}
	}
}
