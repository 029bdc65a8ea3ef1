package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newCluster(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at the nodes and change the membership"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Show every node, its place in the log and the hash of its state", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.clusterStatus(cmd.Context()) },
		},
		newRemove(c),
		&cobra.Command{
			Use: "leave", Short: "Tell the node at --addr to leave the cluster for good", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.leave(cmd.Context()) },
		},
		&cobra.Command{
			Use: "transfer-leader", Short: "Hand leadership to another node", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.transfer(cmd.Context()) },
		},
	)
	return cmd
}

func newRemove(c *client) *cobra.Command {
	req := &limpetv1.RemoveNodeRequest{}
	cmd := &cobra.Command{
		Use: "remove NODE", Short: "Take a dead node out of the Raft configuration", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{"name": "NODE"},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			return c.removeNode(cmd.Context(), req)
		},
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "though it is alive; it then answers no more calls, and joins again if its process is started again")
	return cmd
}

func (c *client) clusterStatus(ctx context.Context) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		st, err := a.GetClusterStatus(ctx, &limpetv1.GetClusterStatusRequest{})
		if err != nil {
			return err
		}
		if c.json() {
			writeJSON(c.io.out, plain(st))
			return nil
		}
		_, _ = fmt.Fprintf(c.io.out, "cluster %s   leader %s   answered by %s\nruns live %d   tasks queued %d, parked %d, with workers %d   workers %d   pins %d\n\n",
			st.GetClusterId(), dash(st.GetLeader()), st.GetAnsweredBy(), st.GetLiveRuns(), st.GetQueued(), st.GetParked(), st.GetHeld(), st.GetWorkers(), st.GetPins())
		if st.GetSaturated() {
			_, _ = fmt.Fprintln(c.io.out, "saturated: asked for more runs than it can bring to an end; new ones are let in as others end")
		}
		rows := make([][]string, 0, len(st.GetNodes()))
		for _, n := range st.GetNodes() {
			state := n.GetState()
			if !n.GetVoter() && n.GetError() == "" && st.GetClusterId() != "" {
				state = "outside" // it was removed, or has not joined yet
			}
			rows = append(rows, []string{
				n.GetName(), state, dash(n.GetGossip()), fmt.Sprint(n.GetTerm()), fmt.Sprint(n.GetCommit()), fmt.Sprint(n.GetApplied()),
				fmt.Sprint(n.GetSeq()), dash(n.GetStateHash()), n.GetGrpc(), n.GetHttp(), dash(n.GetError()),
			})
		}
		return c.table("NODE STATE GOSSIP TERM COMMIT APPLIED SEQ STATE-HASH GRPC HTTP ERROR", rows)
	})
}

func (c *client) removeNode(ctx context.Context, req *limpetv1.RemoveNodeRequest) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		if _, err := a.RemoveNode(ctx, req); err != nil {
			return err
		}
		left := ""
		if !c.json() {
			left = voters(ctx, a, req.GetName())
		}
		return c.said(map[string]any{"removed": req.GetName()}, "removed %s from the Raft configuration%s", req.GetName(), left)
	})
}

// voters says how many nodes are left without the one that was removed, which the
// node that answers may not know yet, and how many of them answer; nothing if that
// is not to be had, for what was asked is done.
func voters(ctx context.Context, a limpetv1.AdminClient, removed string) string {
	st, err := a.GetClusterStatus(ctx, &limpetv1.GetClusterStatusRequest{})
	if err != nil {
		return ""
	}
	all, answer := 0, 0
	for _, x := range st.GetNodes() {
		if x.GetVoter() && x.GetName() != removed {
			all++
			if x.GetError() == "" {
				answer++
			}
		}
	}
	return fmt.Sprintf("; voters left: %d, answering: %d, needed: %d", all, answer, all/2+1)
}

func (c *client) leave(ctx context.Context) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.LeaveCluster(ctx, &limpetv1.LeaveClusterRequest{})
		if err != nil {
			return err
		}
		return c.said(map[string]any{"left": res.GetName()}, "%s has left the cluster; its process can be stopped", res.GetName())
	})
}

func (c *client) transfer(ctx context.Context) error {
	return c.do(ctx, c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
		if _, err := a.TransferLeadership(ctx, &limpetv1.TransferLeadershipRequest{}); err != nil {
			return err
		}
		return c.said(map[string]any{"transferred": true}, "leadership was handed over; see `limpet cluster status`")
	})
}

// said prints what was done: a sentence, or its facts as JSON.
func (c *client) said(facts map[string]any, format string, args ...any) error {
	if c.json() {
		writeJSON(c.io.out, facts)
		return nil
	}
	_, err := fmt.Fprintf(c.io.out, format+"\n", args...)
	return err
}
