package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// Target is a server under test.
type Target struct {
	Name  string   // how results call it
	Addrs []string // its nodes
	Token string   // "" sends none
	Gzip  bool     // compress calls, as some SDKs do
	Plain bool     // make calls with the ordinary gRPC client; gzip needs it
	PIDs  []int    // its processes on this machine, if known
}

// wire is the connections to a target: to every node one for the callers and
// one for the workers, as two programs would have; for each, one more for the
// streams, unless all goes over the ordinary client.
type wire struct {
	target  Target
	callers []grpc.ClientConnInterface
	workers []grpc.ClientConnInterface
	close   []func() error
	next    atomic.Uint32
}

func dial(t Target) (*wire, error) {
	w := &wire{target: t}
	for _, addr := range t.Addrs {
		for _, list := range []*[]grpc.ClientConnInterface{&w.callers, &w.workers} {
			conn, err := dialOne(addr, t.Gzip)
			if err != nil {
				w.Close()
				return nil, err
			}
			w.close = append(w.close, conn.Close)
			if t.Plain || t.Gzip {
				*list = append(*list, conn)
				continue
			}
			calls := newLean(addr, t.Token, conn)
			*list = append(*list, calls)
			w.close = append(w.close, calls.Close)
		}
	}
	return w, nil
}

func dialOne(addr string, compress bool) (*grpc.ClientConn, error) {
	const (
		largestMessage = 64 << 20
		window         = 1 << 20 // fixed, so that no pings probe for a better one
		buffer         = 64 << 10
	)
	calls := []grpc.CallOption{grpc.MaxCallRecvMsgSize(largestMessage)}
	if compress {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(calls...), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(2*window),
		grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// Close ends all connections.
func (w *wire) Close() {
	for _, f := range w.close {
		_ = f()
	}
}

// authorize puts the token into the metadata of all calls under a context. It
// is all that identifies the client.
func (w *wire) authorize(ctx context.Context) context.Context {
	if w.target.Token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+w.target.Token)
}

func (w *wire) caller(i int) grpc.ClientConnInterface { return w.callers[i%len(w.callers)] }
func (w *wire) worker(i int) grpc.ClientConnInterface { return w.workers[i%len(w.workers)] }

// another gives a number that is new each time, to choose a connection by.
func (w *wire) another() int { return int(w.next.Add(1)) }

// workflow is what a workload registers.
type workflow struct {
	name   string
	tasks  []task
	sticky string // none, soft or hard
}

type task struct {
	name    string
	parents []string
}

func (w workflow) action(task string) string { return w.name + ":" + task }

func (w workflow) actions() []string {
	out := make([]string, len(w.tasks))
	for i, t := range w.tasks {
		out[i] = w.action(t.name)
	}
	return out
}

// register puts workflows to the target.
func (w *wire) register(ctx context.Context, list ...workflow) error {
	for _, def := range list {
		req := &compatv1.CreateWorkflowVersionRequest{Name: def.name}
		switch def.sticky {
		case "soft":
			req.Sticky = compatv1.StickyStrategy_SOFT.Enum()
		case "hard":
			req.Sticky = compatv1.StickyStrategy_HARD.Enum()
		}
		wait := "24h"
		for _, t := range def.tasks {
			req.Tasks = append(req.Tasks, &compatv1.CreateTaskOpts{
				ReadableId: t.name, Action: def.action(t.name), Parents: t.parents, Timeout: "600s", ScheduleTimeout: &wait, Inputs: "{}",
			})
		}
		if _, err := compatv1.NewAdminServiceClient(w.caller(0)).PutWorkflow(ctx, req); err != nil {
			return fmt.Errorf("register workflow %s: %w", def.name, err)
		}
	}
	return nil
}

func (w *wire) triggers(i int) compat.WorkflowServiceClient {
	return compat.NewWorkflowServiceClient(w.caller(i))
}
