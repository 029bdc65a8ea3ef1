package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func newRun(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "run", Short: "List, look at, start, cancel and replay runs"}
	list := &limpetv1.ListRunsRequest{}
	ls := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listRuns(cmd.Context(), list) },
	}
	ls.Flags().StringVar(&list.Status, "status", "", "only runs in this state: queued, running, completed, failed, cancelled")
	ls.Flags().StringVar(&list.Workflow, "workflow", "", "only runs of this workflow")
	ls.Flags().Int32Var(&list.Limit, "limit", 50, "at most so many")

	req := &limpetv1.TriggerRunRequest{}
	var wait bool
	var onLost string
	trigger := &cobra.Command{
		Use: "trigger WORKFLOW", Short: "Start a run", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{
			"name": "WORKFLOW", "desired_worker_id": "--worker", "metadata." + limpetv1.MetadataOnLost: "--on-lost",
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Workflow = args[0]
			if onLost != "" {
				var err error
				if req.Metadata, err = withOnLost(req.GetMetadata(), onLost); err != nil {
					return err
				}
			}
			return c.triggerRun(cmd.Context(), req, wait)
		},
	}
	trigger.Flags().StringVar(&req.Input, "input", "{}", "input, a JSON object")
	trigger.Flags().StringVar(&req.Metadata, "metadata", "", "metadata, a JSON object")
	trigger.Flags().Int32Var(&req.Priority, "priority", 0, "1 low, 2 medium, 3 high; 0 for the workflow's own")
	trigger.Flags().StringVar(&req.DesiredWorker, "worker", "", "pin the run to this worker from the start: id, beginning of it, or name")
	trigger.Flags().StringVar(&onLost, "on-lost", "", "what becomes of the run if the worker it is pinned HARD to is lost: wait, fail or repin")
	trigger.Flags().BoolVar(&wait, "wait", false, "wait for the end; exit 7 if the run failed, 8 if it was cancelled")

	cmd.AddCommand(ls, trigger,
		&cobra.Command{
			Use: "get RUN", Short: "Show a run: its pin, and each task with its worker and why it waits", Args: cobra.ExactArgs(1),
			Annotations: map[string]string{"id": "RUN"},
			RunE:        func(cmd *cobra.Command, args []string) error { return c.getRun(cmd.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "cancel RUN", Short: "Cancel what is not final of a run", Args: cobra.ExactArgs(1),
			Annotations: map[string]string{"id": "RUN"},
			RunE:        func(cmd *cobra.Command, args []string) error { return c.cancelRun(cmd.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "replay RUN", Short: "Run all tasks of a run again; a pin to a lost worker is cleared", Args: cobra.ExactArgs(1),
			Annotations: map[string]string{"id": "RUN"},
			RunE:        func(cmd *cobra.Command, args []string) error { return c.replayRun(cmd.Context(), args[0]) },
		},
	)
	return cmd
}

// checkLimit refuses a length of a list that cannot be.
func checkLimit(limit int32) error {
	if limit < 1 {
		return &exitError{code: exitUsage, err: fmt.Errorf("--limit is %d: must be 1 or more", limit)}
	}
	return nil
}

// withOnLost adds to metadata, a JSON object or nothing, what SDKs would add.
func withOnLost(metadata, onLost string) (string, error) {
	if _, ok := fsm.ParseOnLost(onLost); !ok {
		return "", &exitError{code: exitUsage, err: fmt.Errorf("--on-lost is %q: must be wait, fail or repin", onLost)}
	}
	m := map[string]json.RawMessage{}
	if metadata != "" {
		if err := json.Unmarshal([]byte(metadata), &m); err != nil {
			return "", &exitError{code: exitUsage, err: fmt.Errorf("--metadata is %q: must be a JSON object: %w", metadata, err)}
		}
	}
	raw, err := json.Marshal(onLost)
	if err != nil {
		return "", fmt.Errorf("--on-lost is %q: %w", onLost, err)
	}
	m[limpetv1.MetadataOnLost] = raw
	raw, err = json.Marshal(m)
	return string(raw), err
}

func (c *client) listRuns(ctx context.Context, req *limpetv1.ListRunsRequest) error {
	if err := checkLimit(req.GetLimit()); err != nil {
		return err
	}
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListRuns(ctx, req)
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(res)["runs"])
			return nil
		}
		if len(res.GetRuns()) == 0 {
			if req.GetStatus() != "" || req.GetWorkflow() != "" {
				return c.said(nil, "no run is like that; `limpet run list` without flags has those of all workflows and states, `limpet workflow list` what can be started")
			}
			return c.said(nil, "there are no runs; start one with `limpet run trigger WORKFLOW`")
		}
		var rows [][]string
		for _, r := range res.GetRuns() {
			rows = append(rows, []string{
				r.GetId(), r.GetWorkflow(), r.GetStatus(), r.GetSticky(), dash(r.GetPinnedName()),
				fmt.Sprintf("%d/%d", r.GetTasks()-r.GetOpen(), r.GetTasks()), ago(r.GetCreatedMs()),
			})
		}
		if err := c.table("RUN WORKFLOW STATUS STICKY PINNED-TO DONE AGE", rows); err != nil {
			return err
		}
		if res.GetMore() {
			_, _ = fmt.Fprintln(c.io.out, "... there are more: --limit")
		}
		return nil
	})
}

func (c *client) getRun(ctx context.Context, id string) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.GetRun(ctx, &limpetv1.GetRunRequest{Id: id})
		if err != nil {
			return err
		}
		return c.showRun(res)
	})
}

func (c *client) showRun(res *limpetv1.GetRunResponse) error {
	if c.json() {
		writeJSON(c.io.out, plain(res))
		return nil
	}
	r := res.GetRun()
	_, _ = fmt.Fprintf(c.io.out, "run %s   workflow %s   %s   age %s\n", r.GetId(), r.GetWorkflow(), r.GetStatus(), ago(r.GetCreatedMs()))
	if p := res.GetPin(); p != nil {
		_, _ = fmt.Fprintf(c.io.out, "pinned %s to %s (%s, lease %s); cause: %s; moved %d, overflowed %d\n",
			p.GetStrategy(), dash(p.GetWorkerName()), p.GetWorker(), p.GetLease(), p.GetCause(), p.GetMoves(), p.GetOverflows())
	}
	var rows [][]string
	for _, t := range res.GetTasks() {
		note := t.GetError()
		if t.GetWhy() != "" {
			note = t.GetWhyCode() + ": " + t.GetWhy()
			if t.GetFailsInSeconds() > 0 {
				note += "; fails in " + seconds(t.GetFailsInSeconds())
			}
		} else if note == "" {
			note = t.GetOutput()
		}
		worker, because := t.GetWorkerName(), t.GetAssignedBecause()
		switch t.GetStatus() {
		case fsm.Blocked.String(), fsm.Queued.String(), fsm.Backoff.String(): // these are of its last attempt
			worker, because = "", ""
		}
		rows = append(rows, []string{t.GetName(), t.GetStatus(), fmt.Sprint(t.GetAttempt()), dash(worker), dash(because), dash(note)})
	}
	_, _ = fmt.Fprintln(c.io.out)
	return c.table("TASK STATUS ATTEMPT WORKER BECAUSE NOTE", rows)
}

func (c *client) triggerRun(ctx context.Context, req *limpetv1.TriggerRunRequest, wait bool) error {
	timeout := c.wait
	if wait {
		timeout = 0
	}
	return c.do(ctx, timeout, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.TriggerRun(ctx, req)
		if err != nil {
			return err
		}
		if !wait {
			return c.said(map[string]any{"id": res.GetId()}, "%s", res.GetId())
		}
		end, err := a.WaitRun(ctx, &limpetv1.GetRunRequest{Id: res.GetId()})
		if err != nil {
			return fmt.Errorf("run %s goes on, but waiting for it failed: %w", res.GetId(), err)
		}
		if err := c.showRun(end); err != nil {
			return err
		}
		switch end.GetRun().GetStatus() {
		case "FAILED":
			return &exitError{code: exitRunFailed, err: fmt.Errorf("run %s failed", res.GetId())}
		case "CANCELLED":
			return &exitError{code: exitRunCancel, err: fmt.Errorf("run %s was cancelled", res.GetId())}
		}
		return nil
	})
}

func (c *client) cancelRun(ctx context.Context, id string) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.CancelRun(ctx, &limpetv1.CancelRunRequest{Id: id})
		if err != nil {
			return err
		}
		if len(res.GetTaskRuns()) == 0 && !c.json() {
			return c.said(nil, "nothing was left to cancel: the run has ended; `limpet run get %s` says how", id)
		}
		return c.said(map[string]any{"cancelled": res.GetTaskRuns()}, "cancelled %d task run(s)", len(res.GetTaskRuns()))
	})
}

func (c *client) replayRun(ctx context.Context, id string) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ReplayRun(ctx, &limpetv1.ReplayRunRequest{Id: id})
		if err != nil {
			return err
		}
		return c.said(map[string]any{"replayed": res.GetTaskRuns()}, "%d task run(s) run again", len(res.GetTaskRuns()))
	})
}
