package limpet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

type prompt struct{ Text string }

type loaded struct{ Model, Worker string }

type answer struct{ Text, Worker string }

// A workflow whose tasks must run where the model is. Token and addresses come
// from the environment: LIMPET_ADDR and LIMPET_TOKEN, or the variables of the
// other SDKs.
func Example() {
	c, err := limpet.New()
	if err != nil {
		fmt.Println("set LIMPET_ADDR and LIMPET_TOKEN, as `limpet dev` prints them")
		return
	}
	defer func() { _ = c.Close() }()

	chat := limpet.NewWorkflow[prompt](c, "chat", limpet.WithSticky(limpet.Hard))
	load := limpet.NewTask(chat, "load", func(ctx limpet.Context, _ prompt) (loaded, error) {
		return loaded{"llama", ctx.Worker().ID()}, nil
	})
	limpet.NewTask(chat, "reply", func(ctx limpet.Context, in prompt) (answer, error) {
		model, err := load.Output(ctx)
		if err != nil {
			return answer{}, err
		}
		if model.Worker != ctx.Worker().ID() {
			return answer{}, errors.New("the model is elsewhere")
		}
		return answer{"you said " + in.Text, ctx.Worker().ID()}, nil
	}, limpet.WithParents(load))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w, err := limpet.NewWorker(c, "gpu-1", limpet.WithWorkflows(chat), limpet.WithSlots(4), limpet.WithIdentity("gpu-1"), limpet.WithDrainTimeout(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := w.Run(ctx); err != nil { // until the signal, and then until it has drained
		slog.Error("the worker has ended", "error", err)
	}
}

// A task spawns another one on its own worker.
func ExampleWithRunSticky() {
	c, err := limpet.New(limpet.WithToken(token), limpet.WithEndpoints("10.0.0.1:7077", "10.0.0.2:7077"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	child := limpet.NewStandaloneTask(c, "embed", func(ctx limpet.Context, _ prompt) (loaded, error) {
		return loaded{"llama", ctx.Worker().ID()}, nil
	}, limpet.WithSticky(limpet.Soft))
	parent := limpet.NewStandaloneTask(c, "index", func(ctx limpet.Context, in prompt) (answer, error) {
		there, err := child.Run(ctx, in, limpet.WithRunSticky(true))
		if err != nil {
			return answer{}, err
		}
		return answer{"embedded", there.Worker}, nil
	}, limpet.WithSticky(limpet.Soft), limpet.WithRetries(3))
	fmt.Println(parent.Name(), "spawns", child.Name())
	// Output: index spawns embed
}

// What a run that is pinned HARD does when its worker is lost is for the run to
// say, or for its workflow.
func ExampleWithOnLost() {
	c, err := limpet.New(limpet.WithToken(token), limpet.WithEndpoints("10.0.0.1:7077"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()
	chat := limpet.NewWorkflow[prompt](c, "chat", limpet.WithSticky(limpet.Hard))

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody is at that address
	_, err = chat.RunNoWait(ctx, prompt{"hello"}, limpet.WithOnLost(limpet.OnLostRepin))
	fmt.Println(errors.Is(err, context.Canceled) || err != nil)
	// Output: true
}
