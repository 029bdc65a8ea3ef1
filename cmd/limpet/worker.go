package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newWorker(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "worker", Short: "List, pause, drain and resume workers"}
	mode := func(use, short, done string, m limpetv1.WorkerMode) *cobra.Command {
		return &cobra.Command{
			Use: use + " WORKER", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return c.do(cmd.Context(), c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
					res, err := a.SetMode(ctx, &limpetv1.SetModeRequest{Worker: args[0], Mode: m})
					if err != nil {
						return err
					}
					return c.said(map[string]any{"worker_id": res.GetWorkerId(), "mode": done}, "worker %s is %s", res.GetWorkerId(), done)
				})
			},
		}
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List workers: lease, node, slots, pins", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.listWorkers(cmd.Context()) },
		},
		mode("pause", "Give the worker nothing new; its pins stay", "paused", limpetv1.WorkerMode_WORKER_MODE_PAUSED),
		mode("drain", "Give the worker only what is pinned HARD to it; SOFT pins move", "draining", limpetv1.WorkerMode_WORKER_MODE_DRAINING),
		mode("resume", "Make a paused or draining worker active again", "active", limpetv1.WorkerMode_WORKER_MODE_ACTIVE),
	)
	return cmd
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
			var slots []string
			for _, s := range w.GetSlots() {
				slots = append(slots, fmt.Sprintf("%d/%d %s", s.GetUsed(), s.GetTotal(), s.GetType()))
			}
			rows = append(rows, []string{
				w.GetId(), w.GetName(), w.GetLease() + " " + seconds(w.GetLeaseSeconds()), w.GetMode(), dash(w.GetNode()), strings.Join(slots, ", "),
				fmt.Sprint(w.GetPins()), fmt.Sprint(len(w.GetActions())), dash(strings.Join(w.GetLabels(), ",")), dash(w.GetSdk()), dash(w.GetReason()),
			})
		}
		return c.table("ID NAME LEASE MODE NODE SLOTS PINS ACTIONS LABELS SDK REASON", rows)
	})
}
