package limpet

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	drainPoll = 200 * time.Millisecond
	// lastWords is how long the reports of what was cut short, and the goodbye,
	// may take.
	lastWords = 5 * time.Second
)

// drainUntil drains, and stops that when listening ends, whose error it gives: a
// worker that was fenced must not speak for the one that took its place.
func (w *Worker) drainUntil(ctx context.Context, ended <-chan error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.drain(ctx)
	}()
	select {
	case err = <-ended:
		cancel()
		<-done
	case <-done:
	}
	return err
}

// drain lets the worker go: nothing new comes, what it holds is finished, and
// runs that are pinned to it may finish here, until the time is over.
func (w *Worker) drain(ctx context.Context) {
	w.log.Info("draining", "timeout", w.drainFor)
	if w.drainFor == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.drainFor)
	defer cancel()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		if w.drained(ctx) && w.idle() {
			w.log.Info("drained")
			return
		}
		select {
		case <-ctx.Done():
			w.log.Warn("the drain did not end in time; what is left is given to other workers, or waits for this one")
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running) == 0
}

// drained asks the cluster whether it has anything left for the worker.
func (w *Worker) drained(ctx context.Context) bool {
	var d *limpetv1.DrainInfo
	err := w.client.call(ctx, "drain the worker", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		res, err := limpetv1.NewMemberClient(conn).DrainWorker(w.speaking(ctx), &limpetv1.DrainWorkerRequest{
			WorkerId: w.ID(), DeadlineMs: w.drainFor.Milliseconds(), Reason: "the worker is stopping",
		})
		d = res.GetDrain()
		return err
	})
	if errors.Is(err, nodes.ErrClosed) {
		return true // the client was closed before its worker: nobody can be asked
	}
	if code := status.Code(err); code == codes.Unimplemented || code == codes.NotFound {
		return true // the server knows of no drains: what runs here is all
	}
	return err == nil && d.GetDrained()
}

// abort ends what still runs, and gives it a moment to say so.
func (w *Worker) abort(fenced error) {
	cause := ErrStopped
	if fenced != nil {
		cause = ErrFenced
	}
	w.mu.Lock()
	w.stopped = true
	for _, e := range w.running {
		e.cancel(cause)
	}
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		w.background.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lastWords):
	}
	w.stopTelling()
}

// leave says goodbye to the cluster and in gossip.
func (w *Worker) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := w.client.call(ctx, "say goodbye", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := compat.NewDispatcherClient(conn).Unsubscribe(w.speaking(ctx), &compat.WorkerUnsubscribeRequest{WorkerId: w.ID()})
		return err
	})
	if err != nil && status.Code(err) != codes.NotFound {
		w.log.Warn("the cluster was not told that the worker leaves; its lease ends by silence", "error", err)
	}
	if err := w.member.Leave(ctx); err != nil {
		w.log.Debug("leave gossip", "error", err)
	}
}
