// Command go-client shows the Go SDK: `go run ./examples/go-client worker gpu-1`
// executes, and `go run ./examples/go-client` starts a run and prints where its
// tasks were executed.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	limpet "github.com/limpet-dev/limpet/client"
)

// Input is what both workflows take.
type Input struct {
	N int `json:"n"`
}

// Where is what every task gives: the worker that executed it.
type Where struct {
	Worker string `json:"worker"`
}

// workflows are declared once, for workers and for those who start runs.
type workflows struct {
	dag   *limpet.Workflow[Input]
	load  *limpet.Task[Where]
	use   *limpet.Task[Where]
	child *limpet.StandaloneTask[Input, Where]
}

func declare(c *limpet.Client) *workflows {
	w := &workflows{dag: limpet.NewWorkflow[Input](c, "go-sticky-dag", limpet.WithSticky(limpet.Hard))}
	w.child = limpet.NewStandaloneTask(c, "go-sticky-child", func(ctx limpet.Context, _ Input) (Where, error) {
		return Where{ctx.Worker().ID()}, nil
	}, limpet.WithSticky(limpet.Soft))
	w.load = limpet.NewTask(w.dag, "load", func(ctx limpet.Context, _ Input) (Where, error) {
		return Where{ctx.Worker().ID()}, nil
	})
	w.use = limpet.NewTask(w.dag, "use", func(ctx limpet.Context, in Input) (Where, error) {
		before, err := w.load.Output(ctx)
		if err != nil {
			return Where{}, err
		}
		child, err := w.child.Run(ctx, Input{N: in.N + 1}, limpet.WithRunSticky(true))
		if err != nil {
			return Where{}, err
		}
		if id := ctx.Worker().ID(); before.Worker != id || child.Worker != id {
			return Where{}, fmt.Errorf("load was on %s, the child on %s, this is %s", before.Worker, child.Worker, id)
		}
		return Where{ctx.Worker().ID()}, nil
	}, limpet.WithParents(w.load), limpet.WithRetries(1))
	return w
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	c, err := limpet.New(limpet.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	w := declare(c)
	if len(args) > 0 && args[0] == "worker" {
		name := "gpu-1"
		if len(args) > 1 {
			name = args[1]
		}
		worker, err := limpet.NewWorker(c, name, limpet.WithWorkflows(w.dag, w.child), limpet.WithSlots(10), limpet.WithIdentity(name))
		if err != nil {
			return err
		}
		return worker.Run(ctx)
	}
	res, err := w.dag.Run(ctx, Input{N: 1})
	if err != nil {
		return err
	}
	load, err := w.load.From(res)
	if err != nil {
		return err
	}
	use, err := w.use.From(res)
	if err != nil {
		return err
	}
	fmt.Printf("run %s: load on %s, use on %s\n", res.RunID, load.Worker, use.Worker)
	if load != use {
		return errors.New("a HARD run was spread over two workers")
	}
	return nil
}
