// Command worker offers the workflows of the promises and those of the example.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"github.com/limpet-dev/limpet/examples/go/nodes"
	"github.com/limpet-dev/limpet/examples/go/workflows"
	"github.com/limpet-dev/limpet/tests/conformance/go/promises"
)

// slots are far more than there are runs at a time, so that no run has a
// reason to overflow to another worker.
const slots = 100

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: worker NAME")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func work(ctx context.Context, name string) error {
	if err := nodes.Use(); err != nil {
		return err
	}
	client, err := hatchet.NewClient()
	if err != nil {
		return fmt.Errorf("make a client from HATCHET_CLIENT_*: %w", err)
	}
	offered := append(promises.Declare(client).Offered(),
		workflows.StickyDag(client), workflows.Sticky(client), workflows.Child(client))
	worker, err := client.NewWorker(name, hatchet.WithWorkflows(offered...), hatchet.WithSlots(slots))
	if err != nil {
		return fmt.Errorf("make worker %q: %w", name, err)
	}
	if err := worker.StartBlocking(ctx); err != nil {
		return fmt.Errorf("run worker %q: %w", name, err)
	}
	return nil
}
