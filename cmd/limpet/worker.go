package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func newWorker(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "worker", Short: "List, look at, pause, drain and resume workers"}
	mode := func(use, short, done string, m limpetv1.WorkerMode) *cobra.Command {
		req := &limpetv1.SetModeRequest{Mode: m}
		x := &cobra.Command{
			Use: use + " WORKER", Short: short, Args: cobra.ExactArgs(1),
			Annotations: map[string]string{"worker": "WORKER", "worker_id": "WORKER"},
			RunE: func(cmd *cobra.Command, args []string) error {
				req.Worker = args[0]
				return c.setMode(cmd.Context(), req, done)
			},
		}
		x.Flags().StringVar(&req.Reason, "reason", "", "why, for the audit")
		return x
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List workers: lease, node, slots, pins", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.listWorkers(cmd.Context()) },
		},
		&cobra.Command{
			Use: "get WORKER", Short: "Show a worker: lease, place, pins, and how far its drain is", Args: cobra.ExactArgs(1),
			Annotations: map[string]string{"worker": "WORKER"},
			RunE:        func(cmd *cobra.Command, args []string) error { return c.getWorker(cmd.Context(), args[0]) },
		},
		mode("pause", "Give the worker nothing new; its pins stay", "paused", limpetv1.WorkerMode_WORKER_MODE_PAUSED),
		newDrain(c),
		mode("resume", "Make a paused or draining worker active again", "active", limpetv1.WorkerMode_WORKER_MODE_ACTIVE),
	)
	return cmd
}

// setMode pauses or resumes a worker. One that has drained is resumed without a
// lease.
func (c *client) setMode(ctx context.Context, req *limpetv1.SetModeRequest, done string) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.SetMode(ctx, req)
		if err != nil {
			return err
		}
		id := res.GetWorkerId()
		facts, note := map[string]any{"worker_id": id, "mode": done}, ""
		if req.GetMode() == limpetv1.WorkerMode_WORKER_MODE_ACTIVE {
			if got, err := a.GetWorker(ctx, &limpetv1.GetWorkerRequest{Worker: id}); err == nil {
				facts["lease"] = got.GetWorker().GetLease()
			}
			if facts["lease"] == fsm.LeaseLost.String() {
				note = "; its lease is lost, and it gets work when its program connects again (after a drain within some seconds, by itself)"
			}
		}
		return c.said(facts, "worker %s is %s%s", id, done, note)
	})
}

func newDrain(c *client) *cobra.Command {
	req := &limpetv1.SetModeRequest{Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING}
	var deadline time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use: "drain WORKER", Short: "Let a worker go: only what is pinned HARD to it still comes, SOFT pins move", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{"worker": "WORKER", "worker_id": "WORKER"},
		Long: `Let a worker go. It gets nothing new except tasks of runs that are pinned HARD to it; SOFT pins move at once. What it
still waits for is listed. At the deadline it leaves whatever it holds: SOFT tasks are queued elsewhere, and HARD runs
wait for it, fail or move as their workflow says (on_lost). Called again it may only bring the deadline nearer;
resume undoes it.`,
		Example: "  limpet worker drain gpu-2 --deadline 10m --reason 'kernel update' --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			if deadline < 0 || deadline > 0 && deadline < time.Millisecond {
				return &exitError{code: exitUsage, err: fmt.Errorf("--deadline is %s: must be positive, or 0 for none", deadline)}
			}
			req.Worker, req.DeadlineMs = args[0], deadline.Milliseconds()
			return c.drain(cmd.Context(), req, wait)
		},
	}
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "then the worker leaves, whatever it still holds; 0 for none")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for the audit")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has drained; exit 5 if somebody resumes it")
	return cmd
}

// pollDrain is how often a waiting drain is looked at.
const pollDrain = 500 * time.Millisecond

func (c *client) drain(ctx context.Context, req *limpetv1.SetModeRequest, wait bool) error {
	timeout := c.wait
	if wait {
		timeout = 0
	}
	return c.do(ctx, timeout, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.SetMode(ctx, req)
		if err != nil {
			return err
		}
		id, drain := res.GetWorkerId(), res.GetDrain()
		for last := -1; wait && !drain.GetDrained(); {
			if n := len(drain.GetBlockers()); n != last && !c.json() {
				_, _ = fmt.Fprintln(c.io.err, "waiting for "+drainText(drain))
				last = n
			}
			select {
			case <-time.After(pollDrain):
			case <-ctx.Done():
				return ctx.Err()
			}
			got, err := a.GetWorker(ctx, &limpetv1.GetWorkerRequest{Worker: id})
			if err != nil {
				return fmt.Errorf("worker %s drains, but waiting for it failed: %w", id, err)
			}
			if drain = got.GetDrain(); drain == nil {
				return &exitError{code: exitConflict, err: errors.New("somebody has resumed worker " + id)}
			}
		}
		if c.json() {
			writeJSON(c.io.out, map[string]any{"worker_id": id, "mode": "draining", "drain": plain(drain)})
			return nil
		}
		if drain.GetDrained() {
			return c.said(nil, "worker %s has drained", id)
		}
		_, _ = fmt.Fprintf(c.io.out, "worker %s is draining\n", id)
		return c.showDrain(drain)
	})
}

func drainText(d *limpetv1.DrainInfo) string {
	text := fmt.Sprintf("%d task(s) and HARD run(s)", len(d.GetBlockers()))
	if d.GetEtaSeconds() >= 0 {
		text += ", done in " + seconds(d.GetEtaSeconds()) + " at the latest"
	}
	if d.GetDeadlineSeconds() >= 0 {
		text += "; deadline in " + seconds(d.GetDeadlineSeconds())
	}
	return text
}

func (c *client) showDrain(d *limpetv1.DrainInfo) error {
	if d.GetDrained() {
		_, _ = fmt.Fprintln(c.io.out, "drained: it can be stopped")
		return nil
	}
	_, _ = fmt.Fprintln(c.io.out, "waits for "+drainText(d))
	if len(d.GetBlockers()) == 0 {
		return nil
	}
	var rows [][]string
	for _, b := range d.GetBlockers() {
		ends := "-"
		if b.GetEndsInSeconds() >= 0 {
			ends = seconds(b.GetEndsInSeconds())
		}
		rows = append(rows, []string{b.GetRunId(), b.GetWorkflow(), dash(b.GetTask()), b.GetStatus(), ends})
	}
	_, _ = fmt.Fprintln(c.io.out)
	return c.table("RUN WORKFLOW TASK STATUS ENDS-WITHIN", rows)
}

func (c *client) getWorker(ctx context.Context, id string) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.GetWorker(ctx, &limpetv1.GetWorkerRequest{Worker: id})
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res))
			return nil
		}
		return c.showWorker(res)
	})
}

func (c *client) showWorker(res *limpetv1.GetWorkerResponse) error {
	w := res.GetWorker()
	say := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(c.io.out, "%-11s %s\n", name, value)
		}
	}
	say("worker", w.GetId()+"   "+w.GetName()+"   "+w.GetMode())
	lease := fmt.Sprintf("%s for %s, epoch %d", w.GetLease(), seconds(w.GetLeaseSeconds()), w.GetEpoch())
	if w.GetReason() != "" {
		lease += ": " + w.GetReason()
	}
	say("lease", lease)
	say("session", strings.TrimSpace(w.GetNode()+" "+w.GetSession()))
	say("identity", w.GetIdentity())
	say("generation", w.GetGeneration())
	say("gossip", w.GetMember())
	if w.GetQuietSeconds() > 0 {
		say("last choice", "for "+seconds(w.GetQuietSeconds())+", as it was lost too often")
	}
	say("slots", slotText(w))
	say("actions", strings.Join(w.GetActions(), ", "))
	say("labels", strings.Join(w.GetLabels(), ", "))
	say("sdk", w.GetSdk())
	if res.GetDrain() != nil {
		_, _ = fmt.Fprintln(c.io.out)
		if err := c.showDrain(res.GetDrain()); err != nil {
			return err
		}
	}
	if len(res.GetPins()) == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(c.io.out, "\n%d run(s) pinned to it\n", w.GetPins())
	return c.showPins(&limpetv1.ListPinsResponse{Pins: res.GetPins(), More: res.GetMorePins()}, "... there are more: limpet pin list --worker "+w.GetId())
}

func slotText(w *limpetv1.WorkerInfo) string {
	var slots []string
	for _, s := range w.GetSlots() {
		slots = append(slots, fmt.Sprintf("%d/%d %s", s.GetUsed(), s.GetTotal(), s.GetType()))
	}
	return strings.Join(slots, ", ")
}

func (c *client) listWorkers(ctx context.Context) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListWorkers(ctx, &limpetv1.ListWorkersRequest{})
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res)["workers"])
			return nil
		}
		if len(res.GetWorkers()) == 0 {
			return c.said(nil, "no worker has registered yet; README.md shows one in a few lines")
		}
		var rows [][]string
		for _, w := range res.GetWorkers() {
			rows = append(rows, []string{
				w.GetId(), w.GetName(), dash(w.GetIdentity()), w.GetLease() + " " + seconds(w.GetLeaseSeconds()), w.GetMode(), dash(w.GetNode()), slotText(w),
				fmt.Sprint(w.GetPins()), fmt.Sprint(len(w.GetActions())), dash(strings.Join(w.GetLabels(), ",")), dash(w.GetSdk()), dash(w.GetReason()),
			})
		}
		return c.table("ID NAME IDENTITY LEASE MODE NODE SLOTS PINS ACTIONS LABELS SDK REASON", rows)
	})
}
