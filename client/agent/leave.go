package agent

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const (
	// reportFor bounds how long an exit is told, and drainPoll is how often a
	// drain is looked at.
	reportFor = 30 * time.Second
	drainPoll = 500 * time.Millisecond
)

// ask calls the service for members at one node after the other until ctx ends.
func (a *Agent) ask(ctx context.Context, call func(context.Context, limpetv1.MemberClient) error) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+a.cfg.Token)
	var b backoff
	for {
		conn, err := a.nodes.Get()
		if err != nil {
			return err
		}
		try, cancel := context.WithTimeout(ctx, tryFor)
		err = call(try, limpetv1.NewMemberClient(conn))
		cancel()
		if err == nil || !again(err) {
			return err
		}
		a.nodes.Failed(conn)
		if !b.wait(ctx) {
			return err
		}
	}
}

// bury tells the cluster that the program's present life is over, so that
// nobody waits for its silence.
func (a *Agent) bury(ctx context.Context, reason string) {
	incarnation, workers := a.proxy.present()
	a.reportExit(ctx, life{incarnation, workers}, reason)
}

// buryLast does the same for a life of which an earlier agent was not there to
// tell the end. Nobody can be in it: this agent has its directory.
func (a *Agent) buryLast(ctx context.Context) {
	a.reportExit(ctx, a.place.lastLife(), "its agent has ended, and was started again")
}

func (a *Agent) reportExit(ctx context.Context, l life, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportFor)
	defer cancel()
	for _, worker := range l.Workers {
		err := a.ask(ctx, func(ctx context.Context, m limpetv1.MemberClient) error {
			res, err := m.ReportExit(ctx, &limpetv1.ReportExitRequest{WorkerId: worker, Incarnation: l.Incarnation, Reason: reason})
			if err == nil {
				a.log.Info("the cluster knows that the worker has ended", "worker", worker, "requeued", res.GetRequeued())
			}
			return err
		})
		if code := status.Code(err); code != codes.OK && code != codes.NotFound && code != codes.Unimplemented {
			a.log.Warn("the cluster was not told that the worker has ended; its lease ends by silence", "worker", worker, "error", err)
		}
	}
}

// drain lets the workers finish, until nothing is left, the time is over, the
// program has ended or a second signal comes.
func (a *Agent) drain(ctx context.Context, p *process) {
	incarnation, workers := a.proxy.present()
	if len(workers) == 0 || a.cfg.DrainTimeout == 0 {
		return
	}
	const slack = time.Second // the deadline itself is the cluster's
	ctx, cancel := context.WithTimeout(ctx, a.cfg.DrainTimeout+slack)
	defer cancel()
	// Calls too end with the program, and with the second signal.
	go func() {
		select {
		case <-p.ended:
		case <-a.cfg.Signals:
			a.log.Warn("stopping at once: a second signal came")
		case <-ctx.Done():
			return
		}
		cancel()
	}()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		left := 0
		for _, worker := range workers {
			if !a.drained(ctx, worker, incarnation) {
				left++
			}
		}
		if left == 0 {
			a.log.Info("drained", "workers", len(workers))
			return
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				a.log.Warn("the drain did not end in time; what is left is given to other workers, or waits for this one", "workers", left)
			}
			return
		case <-tick.C:
		}
	}
}

// drained reports whether nothing is left for a worker to do.
func (a *Agent) drained(ctx context.Context, worker, incarnation string) bool {
	var d *limpetv1.DrainInfo
	err := a.ask(ctx, func(ctx context.Context, m limpetv1.MemberClient) error {
		res, err := m.DrainWorker(metadata.AppendToOutgoingContext(ctx, limpetv1.HeaderIncarnation, incarnation), &limpetv1.DrainWorkerRequest{
			WorkerId: worker, DeadlineMs: a.cfg.DrainTimeout.Milliseconds(), Reason: "its agent was told to stop",
		})
		d = res.GetDrain()
		return err
	})
	if err != nil {
		a.log.Debug("drain", "worker", worker, "error", err)
		return ctx.Err() == nil && !again(err) // it cannot be drained: it is gone, or the server cannot
	}
	if !d.GetDrained() {
		a.log.Info("draining", "worker", worker, "blockers", len(d.GetBlockers()), "eta_seconds", d.GetEtaSeconds())
	}
	return d.GetDrained()
}
