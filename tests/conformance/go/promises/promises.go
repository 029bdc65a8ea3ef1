// Package promises declares the workflows that show whether sticky assignment
// keeps its promises. Worker and driver declare the same ones.
package promises

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hatchet-dev/hatchet/pkg/client/types"
	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

// Names of tasks, in the order in which they are begun at the earliest.
const (
	Left  = "left"
	Right = "right"
	Join  = "join"
	Flaky = "flaky"
)

// Failures is how many attempts of a flaky task fail before one succeeds.
const Failures = 2

// bodyTime is long enough for two parallel roots to be seen at the same time.
const bodyTime = 200 * time.Millisecond

// Nothing is the input of a workflow that needs none.
type Nothing struct{}

// Place says where and when a task body ran: the worker's id as the SDK gives
// it, the worker's process, and Unix milliseconds.
type Place struct {
	Worker  string `json:"worker"`
	Process int    `json:"process"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// Attempts says which attempts of one task run a worker's memory holds.
type Attempts struct {
	Place
	Seen []int `json:"seen"`
}

// FamilyInput says whether the parent also tries what must be refused.
type FamilyInput struct {
	Forbidden bool `json:"forbidden"`
}

// Family says where a parent and its children ran and how the children were
// refused that declare no strategy or are not registered here.
type Family struct {
	Place
	Children []Place `json:"children"`
	Plain    string  `json:"plain"`
	Absent   string  `json:"absent"`
}

// Set is all workflows.
type Set struct {
	Soft, Hard             *hatchet.Workflow
	FlakySoft, FlakyHard   *hatchet.Workflow
	Family                 *hatchet.StandaloneTask
	Child, Plain, stranger *hatchet.StandaloneTask
}

// Declare makes the workflows for one client.
func Declare(client *hatchet.Client) *Set {
	s := &Set{
		Soft:      dag(client, "conformance-go-soft", types.StickyStrategy_SOFT),
		Hard:      dag(client, "conformance-go-hard", types.StickyStrategy_HARD),
		FlakySoft: flaky(client, "conformance-go-flaky-soft", types.StickyStrategy_SOFT),
		FlakyHard: flaky(client, "conformance-go-flaky-hard", types.StickyStrategy_HARD),
		Child: client.NewStandaloneTask("conformance-go-child", where,
			hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_SOFT)),
		Plain: client.NewStandaloneTask("conformance-go-plain", where),
		stranger: client.NewStandaloneTask("conformance-go-stranger", where,
			hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_SOFT)),
	}
	s.Family = client.NewStandaloneTask("conformance-go-family", s.family,
		hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_HARD))
	return s
}

// Offered lists what a worker registers: all but the stranger.
func (s *Set) Offered() []hatchet.WorkflowBase {
	return []hatchet.WorkflowBase{s.Soft, s.Hard, s.FlakySoft, s.FlakyHard, s.Family, s.Child, s.Plain}
}

func begin(ctx hatchet.Context) Place {
	return Place{Worker: ctx.Worker().ID(), Process: os.Getpid(), From: time.Now().UnixMilli()}
}

// ended gives the place with the present time as its end.
func (p Place) ended() Place {
	p.To = time.Now().UnixMilli()
	return p
}

func where(ctx hatchet.Context, _ Nothing) (Place, error) {
	return begin(ctx).ended(), nil
}

func slow(ctx hatchet.Context, _ Nothing) (Place, error) {
	place := begin(ctx)
	time.Sleep(bodyTime)
	return place.ended(), nil
}

// dag is two parallel roots and a task that waits for both.
func dag(client *hatchet.Client, name string, strategy types.StickyStrategy) *hatchet.Workflow {
	w := client.NewWorkflow(name, hatchet.WithWorkflowStickyStrategy(strategy))
	left := w.NewTask(Left, slow)
	right := w.NewTask(Right, slow)
	_ = w.NewTask(Join, slow, hatchet.WithParents(left, right))
	return w
}

// flaky is a task whose first attempts fail, after a root that pins the run.
// Its worker remembers the attempts that it saw: another one would not.
func flaky(client *hatchet.Client, name string, strategy types.StickyStrategy) *hatchet.Workflow {
	var mu sync.Mutex
	seen := map[string][]int{}
	w := client.NewWorkflow(name, hatchet.WithWorkflowStickyStrategy(strategy))
	left := w.NewTask(Left, slow)
	_ = w.NewTask(Flaky, func(ctx hatchet.Context, _ Nothing) (*Attempts, error) {
		place, run, attempt := begin(ctx), ctx.StepRunId(), ctx.RetryCount()
		mu.Lock()
		seen[run] = append(seen[run], attempt)
		own := slices.Clone(seen[run])
		mu.Unlock()
		if attempt < Failures {
			return nil, fmt.Errorf("attempt %d fails on purpose", attempt)
		}
		return &Attempts{Place: place.ended(), Seen: own}, nil
	}, hatchet.WithParents(left), hatchet.WithRetries(Failures+1))
	return w
}

// family spawns two sticky children and, if asked to, two that must be refused.
func (s *Set) family(ctx hatchet.Context, input FamilyInput) (*Family, error) {
	out := Family{Place: begin(ctx)}
	for range 2 {
		result, err := s.Child.Run(ctx, Nothing{}, hatchet.WithRunSticky(true))
		if err != nil {
			return nil, fmt.Errorf("run a sticky child: %w", err)
		}
		var child Place
		if err := result.Into(&child); err != nil {
			return nil, fmt.Errorf("read what the child answered: %w", err)
		}
		out.Children = append(out.Children, child)
	}
	if input.Forbidden {
		out.Plain = refusal(ctx, s.Plain)
		out.Absent = refusal(ctx, s.stranger)
	}
	out.Place = out.ended()
	return &out, nil
}

// refusal spawns a child that must not be spawned and gives the error's text.
func refusal(ctx hatchet.Context, child *hatchet.StandaloneTask) string {
	if _, err := child.Run(ctx, Nothing{}, hatchet.WithRunSticky(true)); err != nil {
		return err.Error()
	}
	return ""
}
