package main

import (
	"context"
	"strconv"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

// hold is how long a task takes: the first time, and when it is run again.
type hold struct {
	FirstMs, AgainMs int64
}

func (h hold) of(attempt int32) time.Duration {
	if attempt > 0 {
		return time.Duration(h.AgainMs) * time.Millisecond
	}
	return time.Duration(h.FirstMs) * time.Millisecond
}

// ran is a task's result: who it was.
type ran struct {
	Worker  string
	Attempt int32
}

// steps is how many tasks a chain has.
const steps = 6

// flows are the workflows of all scenarios.
type flows struct {
	soft  *limpet.Workflow[hold] // one task
	chain *limpet.Workflow[hold] // HARD, one task after the other
	loose *limpet.Workflow[hold] // SOFT, one task after the other
	both  *limpet.Workflow[hold] // HARD; see the scenario mixed
}

func declare(c *limpet.Client, n *notebook) flows {
	f := flows{
		soft:  limpet.NewWorkflow[hold](c, "hold", limpet.WithSticky(limpet.Soft)),
		chain: limpet.NewWorkflow[hold](c, "chain", limpet.WithSticky(limpet.Hard)),
		loose: limpet.NewWorkflow[hold](c, "loose", limpet.WithSticky(limpet.Soft)),
		both:  limpet.NewWorkflow[hold](c, "mixed", limpet.WithSticky(limpet.Hard)),
	}
	body := func(ctx limpet.Context, h hold) (ran, error) {
		l := line{
			Kind: "begin", Worker: ctx.Worker().ID(), Name: ctx.Worker().Name(), Run: ctx.RunID(), TaskRun: ctx.TaskRunID(),
			Task: ctx.TaskName(), Attempt: ctx.RetryCount(),
		}
		n.write(l)
		if err := sleep(ctx, h.of(l.Attempt)); err != nil {
			l.Kind = "cut"
			n.write(l)
			return ran{}, err
		}
		l.Kind = "end"
		n.write(l)
		return ran{l.Worker, l.Attempt}, nil
	}
	limpet.NewTask(f.soft, "hold", body)
	for _, w := range []*limpet.Workflow[hold]{f.chain, f.loose} {
		var last *limpet.Task[ran]
		for i := range steps {
			opts := []limpet.TaskOption{}
			if last != nil {
				opts = append(opts, limpet.WithParents(last))
			}
			last = limpet.NewTask(w, "s"+strconv.Itoa(i), body, opts...)
		}
	}
	first := limpet.NewTask(f.both, "first", body)
	limpet.NewTask(f.both, "second", body, limpet.WithParents(first))
	return f
}

func (f *flows) all() []limpet.Definition {
	return []limpet.Definition{f.soft, f.chain, f.loose, f.both}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
