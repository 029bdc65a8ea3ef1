package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newAudit(c *client) *cobra.Command {
	req := &limpetv1.ListAuditRequest{}
	cmd := &cobra.Command{
		Use: "audit", Short: "List what operators did, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listAudit(cmd.Context(), req) },
	}
	cmd.PersistentFlags().Int32Var(&req.Limit, "limit", 50, "at most so many; the last 1000 are kept")
	// Every other group of commands has a list.
	cmd.AddCommand(&cobra.Command{Use: "list", Short: cmd.Short, Args: cobra.NoArgs, Hidden: true, RunE: cmd.RunE})
	return cmd
}

func (c *client) listAudit(ctx context.Context, req *limpetv1.ListAuditRequest) error {
	if err := checkLimit(req.GetLimit()); err != nil {
		return err
	}
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListAudit(ctx, req)
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res)["acts"])
			return nil
		}
		if len(res.GetActs()) == 0 {
			return c.said(nil, "nobody has done anything yet that is audited")
		}
		var rows [][]string
		for _, x := range res.GetActs() {
			change := x.GetFrom()
			if x.GetTo() != "" {
				change += " -> " + x.GetTo()
			}
			rows = append(rows, []string{
				fmt.Sprint(x.GetSeq()), time.UnixMilli(x.GetAtMs()).Format(time.RFC3339), x.GetActor(), x.GetAction(), x.GetTarget(), dash(change), dash(x.GetReason()),
			})
		}
		return c.table("SEQ TIME ACTOR ACTION TARGET CHANGE REASON", rows)
	})
}
