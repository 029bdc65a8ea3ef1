// Command worker is a long-lived worker. Start several: every run stays on the
// one it began on.
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
)

func main() {
	name := fmt.Sprintf("go-%d", os.Getpid())
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx, name); err != nil {
		log.Fatal(err)
	}
}

func work(ctx context.Context, name string) error {
	if err := nodes.Use(); err != nil {
		return err
	}
	// Token, address and TLS strategy come from HATCHET_CLIENT_* in the environment.
	client, err := hatchet.NewClient()
	if err != nil {
		return fmt.Errorf("make a client from HATCHET_CLIENT_*: %w", err)
	}
	// The child is registered with the same worker: it could not follow otherwise.
	worker, err := client.NewWorker(name,
		hatchet.WithWorkflows(workflows.StickyDag(client), workflows.Sticky(client), workflows.Child(client)),
		hatchet.WithSlots(10),
	)
	if err != nil {
		return fmt.Errorf("make worker %q: %w", name, err)
	}
	if err := worker.StartBlocking(ctx); err != nil {
		return fmt.Errorf("run worker %q: %w", name, err)
	}
	return nil
}
