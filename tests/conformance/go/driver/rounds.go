package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"github.com/limpet-dev/limpet/examples/go/workflows"
	"github.com/limpet-dev/limpet/tests/conformance/go/promises"
)

// rounds plays every workflow several times at once, again and again.
type rounds struct {
	ledger *ledger
	set    *promises.Set
	dag    *hatchet.Workflow
	sticky *hatchet.StandaloneTask
}

// play starts size runs of each kind and returns when all have ended.
func (r *rounds) play(ctx context.Context, size int) {
	var group sync.WaitGroup
	for number := range size {
		group.Go(func() { r.same(ctx, softSame, r.set.Soft) })
		group.Go(func() { r.same(ctx, hardSame, r.set.Hard) })
		group.Go(func() { r.retry(ctx, r.set.FlakySoft) })
		group.Go(func() { r.retry(ctx, r.set.FlakyHard) })
		group.Go(func() { r.family(ctx, number == 0) })
		group.Go(func() { r.page(ctx) })
	}
	group.Wait()
}

// failed books an error under the promises that the run was to show.
func (r *rounds) failed(err error, shown ...string) {
	for _, promise := range shown {
		if errors.Is(err, errNotAcknowledged) {
			r.ledger.miss(promise, err.Error())
		} else {
			r.ledger.fault(promise, err.Error())
		}
	}
}

func (r *rounds) same(ctx context.Context, promise string, w *hatchet.Workflow) {
	result, err := run(ctx, w, promises.Nothing{})
	if err != nil {
		r.failed(err, promise)
		return
	}
	left := output[promises.Place](result, promises.Left)
	right := output[promises.Place](result, promises.Right)
	join := output[promises.Place](result, promises.Join)
	r.ledger.seen(left, right, join)
	r.ledger.check(promise, left.Worker != "" && left.Worker == right.Worker && right.Worker == join.Worker,
		"run %s: left on %q, right on %q, join on %q", result.RunId, left.Worker, right.Worker, join.Worker)
	r.ledger.check(roots, left.Worker != "" && left.Worker == right.Worker,
		"run %s: left on %q, right on %q", result.RunId, left.Worker, right.Worker)
	if left.From <= right.To && right.From <= left.To {
		r.ledger.mu.Lock()
		r.ledger.overlaps++
		r.ledger.mu.Unlock()
	}
}

// retry holds a task's attempts against the memory of the worker that ended it.
// An attempt that ran elsewhere is missing there. A lost report may cost one more.
func (r *rounds) retry(ctx context.Context, w *hatchet.Workflow) {
	result, err := run(ctx, w, promises.Nothing{})
	if err != nil {
		r.failed(err, retrySame)
		return
	}
	left := output[promises.Place](result, promises.Left)
	flaky := output[promises.Attempts](result, promises.Flaky)
	r.ledger.seen(left, flaky.Place)
	r.ledger.check(retrySame, left.Worker != "" && left.Worker == flaky.Worker && whole(flaky.Seen),
		"run %s: its root was on %q, its last attempt on %q, which saw the attempts %v", result.RunId, left.Worker, flaky.Worker, flaky.Seen)
}

// whole says whether the attempts begin with 0 and none between them is missing.
func whole(seen []int) bool {
	distinct := slices.Compact(slices.Sorted(slices.Values(seen)))
	return len(distinct) > promises.Failures && distinct[0] == 0 && distinct[len(distinct)-1] == len(distinct)-1
}

func (r *rounds) family(ctx context.Context, forbidden bool) {
	result, err := run(ctx, r.set.Family, promises.FamilyInput{Forbidden: forbidden})
	if err != nil {
		r.failed(err, childSame)
		return
	}
	parent := output[promises.Family](result, r.set.Family.GetName())
	r.ledger.seen(parent.Place)
	r.ledger.seen(parent.Children...)
	together := parent.Worker != "" && len(parent.Children) == 2
	var on []string
	for _, child := range parent.Children {
		on = append(on, child.Worker)
		together = together && child.Worker == parent.Worker
	}
	r.ledger.check(childSame, together, "run %s: the parent on %q, its children on %q", result.RunId, parent.Worker, on)
	if forbidden {
		r.refusal(childPlain, parent.Plain, "strategy")
		r.refusal(childAbsent, parent.Absent, "not registered")
	}
}

// refusal judges the error of a child that must not run: none at all is a
// fault, another one than expected shows nothing.
func (r *rounds) refusal(promise, text, word string) {
	switch {
	case text == "":
		r.ledger.fault(promise, "the child was not refused")
	case strings.Contains(text, word):
		r.ledger.keep(promise)
		r.ledger.note(promise, text)
	default:
		r.ledger.miss(promise, "another error than the refusal: "+text)
	}
}

// page runs the two snippets of the documentation as they stand there.
func (r *rounds) page(ctx context.Context) {
	result, err := run(ctx, r.dag, workflows.StickyInput{})
	if err != nil {
		r.failed(err, snippet)
		return
	}
	one := output[workflows.StickyResult](result, "sticky-task").Result
	two := output[workflows.StickyResult](result, "sticky-task-2").Result
	r.ledger.check(snippet, one != "" && one == two, "sticky-dag, run %s: on %q and %q", result.RunId, one, two)

	result, err = run(ctx, r.sticky, workflows.StickyInput{})
	if err != nil {
		r.failed(err, snippet)
		return
	}
	answer := output[workflows.StickyResult](result, "sticky-task").Result
	child, found := strings.CutPrefix(answer, "child-result-")
	r.ledger.check(snippet, found && child != "", "sticky-task, run %s: it answered %q", result.RunId, answer)
}
