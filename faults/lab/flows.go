package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

// input says how long each task takes, and whether the first try of some fails.
type input struct {
	Ms    int64 `json:"ms"`
	Fails bool  `json:"fails,omitempty"`
	Child bool  `json:"child,omitempty"`
	// Pad makes the run large.
	Pad string `json:"pad,omitempty"`
}

// The bounds of a task. A HARD run whose worker never comes back ends by the
// first.
const (
	scheduleTimeout  = 45 * time.Second
	executionTimeout = 30 * time.Second
)

// flows are the workflows of the lab.
type flows struct {
	one   *limpet.Workflow[input] // SOFT, one task
	graph *limpet.Workflow[input] // SOFT: a, then b and c, then d
	chain *limpet.Workflow[input] // HARD, one after the other; the second may start a child
	fan   *limpet.Workflow[input] // HARD: two roots, a join, retries
	child *limpet.Workflow[input] // HARD, on its parent's worker
	notes *notebook               // nil for who only starts runs
}

// The names of the workflows, and their strategies.
const (
	flowOne, flowGraph, flowChain, flowFan, flowChild = "lab-one", "lab-graph", "lab-chain", "lab-fan", "lab-child"
)

func strategyOf(flow string) string {
	switch flow {
	case flowChain, flowFan, flowChild:
		return history.Hard
	}
	return history.Soft
}

// declare makes the workflows; notes may be nil for who only starts runs.
func declare(c *limpet.Client, notes *notebook) *flows {
	f := &flows{
		one:   limpet.NewWorkflow[input](c, flowOne, limpet.WithSticky(limpet.Soft)),
		graph: limpet.NewWorkflow[input](c, flowGraph, limpet.WithSticky(limpet.Soft)),
		chain: limpet.NewWorkflow[input](c, flowChain, limpet.WithSticky(limpet.Hard)),
		fan:   limpet.NewWorkflow[input](c, flowFan, limpet.WithSticky(limpet.Hard)),
		child: limpet.NewWorkflow[input](c, flowChild, limpet.WithSticky(limpet.Hard)),
		notes: notes,
	}
	bounds := []limpet.TaskOption{limpet.WithScheduleTimeout(scheduleTimeout), limpet.WithExecutionTimeout(executionTimeout)}
	task := func(w *limpet.Workflow[input], name string, parents ...limpet.Parent) *limpet.Task[json.RawMessage] {
		opts := bounds
		if len(parents) > 0 {
			opts = append(slices.Clip(opts), limpet.WithParents(parents...))
		}
		if w == f.fan {
			opts = append(slices.Clip(opts), limpet.WithRetries(2))
		}
		return limpet.NewTask(w, name, f.body, opts...)
	}
	task(f.one, "only")
	a := task(f.graph, "a")
	b, c2 := task(f.graph, "b", a), task(f.graph, "c", a)
	task(f.graph, "d", b, c2)
	s0 := task(f.chain, "s0")
	s1 := task(f.chain, "s1", s0)
	task(f.chain, "s2", s1)
	left, right := task(f.fan, "left"), task(f.fan, "right")
	task(f.fan, "join", left, right)
	task(f.child, "child")
	return f
}

// body is what every task does: it writes down that it runs, takes its time, and
// gives a result that says who made it.
func (f *flows) body(ctx limpet.Context, in input) (json.RawMessage, error) {
	e := history.Event{
		Kind: history.Begin, Worker: ctx.Worker().ID(), Run: ctx.RunID(), TaskRun: ctx.TaskRunID(), Task: ctx.TaskName(),
		Attempt: ctx.RetryCount(), Strategy: strategyOf(ctx.Workflow()),
	}
	f.notes.begin(e, ctx.Worker().Name())
	err := sleep(ctx, time.Duration(in.Ms)*time.Millisecond)
	if err == nil && in.Child && ctx.TaskName() == "s1" {
		_, err = f.child.Run(ctx, input{Ms: in.Ms}, limpet.WithRunSticky(true))
	}
	if err == nil && in.Fails && ctx.RetryCount() == 0 {
		err = fmt.Errorf("attempt %d fails, as it was told", ctx.RetryCount())
	}
	if err != nil {
		e.Kind, e.Detail = history.Cut, err.Error()
		f.notes.write(e)
		return nil, err
	}
	e.Kind, e.Output = history.End, check.Output(e.TaskRun, e.Attempt, e.Worker)
	f.notes.write(e)
	return json.RawMessage(e.Output), nil
}

func (f *flows) all() []limpet.Definition {
	return []limpet.Definition{f.one, f.graph, f.chain, f.fan, f.child}
}

// byName gives a workflow that clients start.
func (f *flows) byName(name string) *limpet.Workflow[input] {
	switch name {
	case flowGraph:
		return f.graph
	case flowChain:
		return f.chain
	case flowFan:
		return f.fan
	}
	return f.one
}
