package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newPin(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "pin", Short: "List, release and move pins: which run belongs to which worker"}
	req := &limpetv1.ListPinsRequest{}
	ls := &cobra.Command{
		Use: "list", Short: "List the pins of live runs, and why their tasks wait", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listPins(cmd.Context(), req) },
	}
	ls.Flags().StringVar(&req.Worker, "worker", "", "only pins to this worker: id, beginning of it, or name")
	ls.Flags().Int32Var(&req.Limit, "limit", 100, "at most so many")
	rel := &limpetv1.ReleaseRunPinRequest{}
	release := &cobra.Command{
		Use: "release RUN", Short: "Clear the pin of a run; its next task pins it anew", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{"id": "RUN", "run_id": "RUN"},
		RunE: func(cmd *cobra.Command, args []string) error {
			rel.RunId = args[0]
			return c.do(cmd.Context(), c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
				res, err := a.ReleaseRunPin(ctx, rel)
				if err != nil {
					return err
				}
				return c.said(map[string]any{"released": res.GetRunId()}, "released the pin of run %s", res.GetRunId())
			})
		},
	}
	release.Flags().StringVar(&rel.Reason, "reason", "", "why; required, as the run may lose its state")
	mv := &limpetv1.MoveRunPinRequest{}
	move := &cobra.Command{
		Use: "move RUN --to WORKER", Short: "Give a run, as it stands, to another worker", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{"id": "RUN", "run_id": "RUN", "worker": "--to", "worker_id": "--to"},
		RunE: func(cmd *cobra.Command, args []string) error {
			mv.RunId = args[0]
			return c.do(cmd.Context(), c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
				res, err := a.MoveRunPin(ctx, mv)
				if err != nil {
					return err
				}
				return c.said(map[string]any{"moved": res.GetRunId(), "worker_id": res.GetWorkerId()}, "run %s is pinned to worker %s", res.GetRunId(), res.GetWorkerId())
			})
		},
	}
	move.Flags().StringVar(&mv.Worker, "to", "", "the worker that gets it: id, beginning of it, or name")
	move.Flags().StringVar(&mv.Reason, "reason", "", "why; required, as the run may lose its state")
	cmd.AddCommand(ls, release, move)
	return cmd
}

func (c *client) listPins(ctx context.Context, req *limpetv1.ListPinsRequest) error {
	if err := checkLimit(req.GetLimit()); err != nil {
		return err
	}
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListPins(ctx, req)
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res)["pins"])
			return nil
		}
		if len(res.GetPins()) == 0 {
			return c.said(nil, "no live run is pinned")
		}
		return c.showPins(res, "... there are more: --limit")
	})
}

func (c *client) showPins(res *limpetv1.ListPinsResponse, more string) error {
	var rows [][]string
	for _, p := range res.GetPins() {
		why := "-"
		if p.GetWhyCode() != "" {
			why = fmt.Sprintf("%s waits: %s: %s; fails in %s", p.GetWaitingTask(), p.GetWhyCode(), p.GetWhy(), seconds(p.GetFailsInSeconds()))
		}
		rows = append(rows, []string{
			p.GetRunId(), p.GetWorkflow(), p.GetStrategy(), dash(p.GetWorkerName()), p.GetLease(), p.GetCause(),
			seconds(p.GetAgeSeconds()), fmt.Sprint(p.GetMoves()), fmt.Sprint(p.GetOverflows()), why,
		})
	}
	if err := c.table("RUN WORKFLOW STRATEGY WORKER LEASE CAUSE AGE MOVES OVERFLOWS WHY", rows); err != nil {
		return err
	}
	if res.GetMore() {
		_, _ = fmt.Fprintln(c.io.out, more)
	}
	return nil
}
