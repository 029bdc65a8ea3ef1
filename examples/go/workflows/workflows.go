// Package workflows is what the worker offers and the runner starts.
package workflows

import (
	"fmt"

	"github.com/hatchet-dev/hatchet/pkg/client/types"
	"github.com/hatchet-dev/hatchet/pkg/worker"
	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

// StickyInput is the input of the sticky workflows: nothing.
type StickyInput struct{}

// StickyResult says which worker a task ran on.
type StickyResult struct {
	Result string `json:"result"`
}

// ChildInput is what a parent gives its child.
type ChildInput struct {
	N int `json:"n"`
}

// ChildResult says which worker the child ran on.
type ChildResult struct {
	Result string `json:"result"`
}

// StickyDag is two parallel tasks that run on one worker.
func StickyDag(client *hatchet.Client) *hatchet.Workflow {
	stickyDag := client.NewWorkflow("sticky-dag",
		hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_SOFT),
	)

	_ = stickyDag.NewTask("sticky-task",
		func(ctx worker.HatchetContext, input StickyInput) (interface{}, error) {
			workerId := ctx.Worker().ID()

			return &StickyResult{
				Result: workerId,
			}, nil
		},
	)

	_ = stickyDag.NewTask("sticky-task-2",
		func(ctx worker.HatchetContext, input StickyInput) (interface{}, error) {
			workerId := ctx.Worker().ID()

			return &StickyResult{
				Result: workerId,
			}, nil
		},
	)

	return stickyDag
}

// Child declares a strategy: only a sticky child can follow its parent, and a
// trigger that asks a child without one to follow is refused.
func Child(client *hatchet.Client) *hatchet.StandaloneTask {
	return client.NewStandaloneTask("child-task",
		func(ctx worker.HatchetContext, input ChildInput) (*ChildResult, error) {
			return &ChildResult{Result: ctx.Worker().ID()}, nil
		},
		hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_SOFT),
	)
}

// Sticky spawns its child on its own worker.
func Sticky(client *hatchet.Client) *hatchet.StandaloneTask {
	sticky := client.NewStandaloneTask("sticky-task",
		func(ctx worker.HatchetContext, input StickyInput) (*StickyResult, error) {
			// Run a child workflow on the same worker
			childWorkflow := Child(client)
			childResult, err := childWorkflow.Run(ctx, ChildInput{N: 1}, hatchet.WithRunSticky(true))
			if err != nil {
				return nil, err
			}

			var childOutput ChildResult
			err = childResult.Into(&childOutput)
			if err != nil {
				return nil, err
			}

			return &StickyResult{
				Result: fmt.Sprintf("child-result-%s", childOutput.Result),
			}, nil
		},
	)

	return sticky
}
