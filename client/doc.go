// Package limpet is the Go SDK of Limpet: workflows, workers that execute them,
// and clients that start them.
//
// A [Client] knows the nodes of a cluster. Workflows and tasks are declared with
// it, typed by their input and output; a [Worker] executes them:
//
//	c, err := limpet.New()
//	dag := limpet.NewWorkflow[Input](c, "sticky-dag", limpet.WithSticky(limpet.Soft))
//	load := limpet.NewTask(dag, "load", func(ctx limpet.Context, in Input) (Loaded, error) {
//		return Loaded{Worker: ctx.Worker().ID()}, nil
//	})
//	limpet.NewTask(dag, "use", func(ctx limpet.Context, in Input) (Used, error) {
//		before, err := load.Output(ctx)
//		...
//	}, limpet.WithParents(load))
//	w, err := limpet.NewWorker(c, "gpu-1", limpet.WithWorkflows(dag), limpet.WithIdentity("gpu-1"))
//	err = w.Run(ctx)
//
// A worker goes on while nodes fail: it listens at another node, and repeats its
// reports until one is taken. With an identity a worker that is started again is
// the same worker to the cluster, so that runs pinned to it go on there. When its
// context ends it drains: it takes nothing new, finishes what it holds, and
// leaves.
//
// Calls that change something carry a request id and are repeated at another node
// until their context ends, so that a run is started once.
//
// The package speaks the wire of the published Hatchet SDKs and works with any
// server that does; what only Limpet has is then left out.
package limpet
