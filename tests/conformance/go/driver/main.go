// Command driver starts runs and prints one row for each promise, judged by
// what the workers' task bodies answered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"github.com/limpet-dev/limpet/examples/go/nodes"
	"github.com/limpet-dev/limpet/examples/go/workflows"
	"github.com/limpet-dev/limpet/tests/conformance/go/promises"
)

// patience is how long an acknowledged run may take, the SDK's own long waits
// between two tries included.
const patience = 75 * time.Second

func main() {
	mode := flag.String("mode", "calm", "calm or kills: what the rows say, and whether a failed call is a fault")
	length := flag.Duration("for", 0, "begin rounds until then; there is always one")
	size := flag.Int("size", 10, "runs of each kind in a round")
	flag.Parse()
	if err := drive(context.Background(), *mode, *length, *size); err != nil {
		log.Fatal(err)
	}
}

func drive(ctx context.Context, mode string, length time.Duration, size int) error {
	if err := nodes.Use(); err != nil {
		return err
	}
	client, err := hatchet.NewClient()
	if err != nil {
		return fmt.Errorf("make a client from HATCHET_CLIENT_*: %w", err)
	}
	r := &rounds{
		ledger: newLedger(mode == "calm"),
		set:    promises.Declare(client),
		dag:    workflows.StickyDag(client),
		sticky: workflows.Sticky(client),
	}
	deadline := time.Now().Add(length)
	for number := 1; ; number++ {
		r.play(ctx, size)
		if time.Now().After(deadline) {
			r.ledger.note(snippet, fmt.Sprintf("%d rounds", number))
			break
		}
	}
	r.ledger.print(os.Stdout, mode)
	return nil
}

// runner is what workflows and standalone tasks have in common.
type runner interface {
	GetName() string
	RunNoWait(ctx context.Context, input any, opts ...hatchet.RunOptFunc) (*hatchet.WorkflowRunRef, error)
}

// errNotAcknowledged says that the trigger failed: the server promised nothing.
var errNotAcknowledged = errors.New("the trigger failed")

// run starts a run and waits for its end. The SDK's own wait has no limit.
func run(ctx context.Context, w runner, input any) (*hatchet.WorkflowResult, error) {
	ref, err := w.RunNoWait(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", w.GetName(), errNotAcknowledged, err)
	}
	type ended struct {
		result *hatchet.WorkflowResult
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		result, err := ref.Result()
		done <- ended{result, err}
	}()
	select {
	case end := <-done:
		if end.err != nil {
			return nil, fmt.Errorf("%s: run %s was acknowledged and failed: %w", w.GetName(), ref.RunId, end.err)
		}
		return end.result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: run %s was acknowledged and has no result after %s", w.GetName(), ref.RunId, patience)
	}
}

// output reads what a task answered; a zero value if it cannot be read, which
// no judge takes for a place.
func output[T any](result *hatchet.WorkflowResult, task string) (out T) {
	if err := result.TaskOutput(task).Into(&out); err != nil {
		log.Printf("read what task %q answered: %v", task, err)
	}
	return out
}
