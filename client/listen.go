package limpet

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

// listen takes orders, at one node after the other, until ctx ends or the worker
// may not go on, which is the error.
func (w *Worker) listen(ctx context.Context) error {
	var b backoff
	for {
		conn, err := w.client.nodes.Get()
		if err != nil {
			return fmt.Errorf("limpet: %w", err)
		}
		err = w.serve(ctx, conn, &b)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // The stream broke because it was told to end.
		}
		switch status.Code(err) {
		case codes.FailedPrecondition:
			w.log.Error("this worker stops: a newer start of it has taken its place", "error", err)
			return fmt.Errorf("%w: %w", ErrFenced, err)
		case codes.NotFound:
			w.log.Warn("the cluster does not know the worker: it registers anew", "error", err)
			if err := w.register(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			continue
		case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
			return fmt.Errorf("listen for orders: %w", err)
		}
		w.log.Debug("listening at another node", "node", conn.Addr, "error", err)
		w.client.nodes.Failed(conn)
		b.wait(ctx)
	}
}

// serve takes orders from one node until its stream ends, and gives why.
func (w *Worker) serve(ctx context.Context, conn *nodes.Conn, b *backoff) error {
	ctx, cancel := context.WithCancel(w.speaking(ctx))
	defer cancel()
	stream, err := compat.NewDispatcherClient(conn.ClientConn).ListenV2(ctx, &compat.WorkerListenRequest{WorkerId: w.ID()})
	if err != nil {
		return err
	}
	if _, err := stream.Header(); err == nil {
		w.log.Debug("listening", "node", conn.Addr)
	}
	for {
		a, err := stream.Recv()
		if err != nil {
			return err
		}
		b.next = 0
		switch a.GetActionType() {
		case compat.ActionType_START_STEP_RUN:
			w.start(a) //nolint:contextcheck // An attempt outlives the stream that brought its order.
		case compat.ActionType_CANCEL_STEP_RUN:
			w.cancel(a)
		case compat.ActionType_START_GET_GROUP_KEY, compat.ActionType_START_BATCH:
			w.log.Warn("an order of a kind that this SDK does not know was left out", "kind", a.GetActionType())
		}
	}
}

// heartbeat says that the worker lives, until ctx ends.
func (w *Worker) heartbeat(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		w.beat(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat sends one heartbeat: to another node if one does not answer.
func (w *Worker) beat(ctx context.Context) {
	const each = time.Second
	for range w.client.nodes.Count() {
		conn, err := w.client.nodes.Get()
		if err != nil || ctx.Err() != nil {
			return
		}
		call, cancel := context.WithTimeout(w.speaking(ctx), each)
		_, err = compat.NewDispatcherClient(conn.ClientConn).Heartbeat(call, &compat.HeartbeatRequest{WorkerId: w.ID()})
		cancel()
		if err == nil || !again(err) {
			return
		}
		w.client.nodes.Failed(conn)
	}
}
