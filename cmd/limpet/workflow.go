package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newWorkflow(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "workflow", Short: "List workflows, and set what they do when a worker is lost"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List workflows", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.listWorkflows(cmd.Context()) },
		},
		&cobra.Command{
			Use: "set WORKFLOW on_lost=wait|fail|repin", Short: "Set what becomes of HARD runs whose worker is lost", Args: cobra.ExactArgs(2),
			Annotations: map[string]string{"workflow": "WORKFLOW", "name": "WORKFLOW"},
			Long: `Set what becomes of a run that is pinned HARD when its worker is lost:
  wait   it waits for the worker, until the schedule timeout of its tasks; this is where a workflow starts
  fail   its waiting tasks fail at once, with the reason
  repin  the pin is cleared, and the next assignment pins the run anew
A run can say it for itself in its metadata: {"limpet.on_lost": "repin"}. What waits already is judged anew.`,
			RunE: func(cmd *cobra.Command, args []string) error { return c.setWorkflow(cmd.Context(), args[0], args[1]) },
		},
	)
	return cmd
}

func (c *client) listWorkflows(ctx context.Context) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListWorkflows(ctx, &limpetv1.ListWorkflowsRequest{})
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res)["workflows"])
			return nil
		}
		if len(res.GetWorkflows()) == 0 {
			return c.said(nil, "no workflow has been registered yet: a worker registers its own when it starts")
		}
		var rows [][]string
		for _, w := range res.GetWorkflows() {
			rows = append(rows, []string{
				w.GetId(), w.GetName(), w.GetSticky(), w.GetOnLost(), fmt.Sprint(w.GetTasks()), fmt.Sprint(w.GetVersions()), fmt.Sprint(w.GetWorkers()),
			})
		}
		return c.table("ID NAME STICKY ON-LOST TASKS VERSIONS WORKERS", rows)
	})
}

func (c *client) setWorkflow(ctx context.Context, name, setting string) error {
	key, value, ok := strings.Cut(setting, "=")
	if !ok || key != "on_lost" {
		return &exitError{code: exitUsage, err: fmt.Errorf("the setting is %q: must be on_lost=wait, on_lost=fail or on_lost=repin", setting)}
	}
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.SetWorkflowPolicy(ctx, &limpetv1.SetWorkflowPolicyRequest{Workflow: name, OnLost: value})
		if err != nil {
			return err
		}
		w := res.GetWorkflow()
		return c.said(plain(w), "workflow %s: on_lost=%s", w.GetName(), w.GetOnLost())
	})
}
