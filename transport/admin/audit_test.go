package admin_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/admin"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// membership is a node whose cluster takes every change, or none.
type membership struct {
	*transporttest.Node
	err error
}

func (m *membership) RemoveNode(context.Context, fsm.NodeID, bool) error { return m.err }
func (m *membership) TransferLeadership(context.Context) error           { return m.err }
func (m *membership) Leave(context.Context) error                        { return m.err }

func TestWhatOperatorsDoToRunsAndNodesIsAudited(t *testing.T) {
	b := newBed(t)
	_, run := b.hard(t)
	m := &membership{Node: b.node}
	b.admin = admin.New(admin.Config{Backend: m, Operator: m, Hub: b.node.Hub, Now: b.cluster.Wall})
	self, id := string(b.node.Name()), string(run)
	did := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.admin.CancelRun(b.ctx, &limpetv1.CancelRunRequest{Id: id})
	did(err)
	_, err = b.admin.CancelRun(b.ctx, &limpetv1.CancelRunRequest{Id: id}) // changes nothing
	did(err)
	_, err = b.admin.ReplayRun(b.ctx, &limpetv1.ReplayRunRequest{Id: id})
	did(err)
	_, err = b.admin.RemoveNode(b.ctx, &limpetv1.RemoveNodeRequest{Name: "node-9", Force: true})
	did(err)
	_, err = b.admin.LeaveCluster(b.ctx, &limpetv1.LeaveClusterRequest{})
	did(err)
	m.err = errors.New("it would cost the quorum")
	if _, err = b.admin.RemoveNode(b.ctx, &limpetv1.RemoveNodeRequest{Name: "node-8"}); err == nil {
		t.Error("node-8 was removed")
	}
	if _, err = b.admin.LeaveCluster(b.ctx, &limpetv1.LeaveClusterRequest{}); err == nil {
		t.Error("the node has left")
	}
	list, err := b.admin.ListAudit(b.ctx, &limpetv1.ListAuditRequest{})
	did(err)
	var got []string
	for _, a := range slices.Backward(list.GetActs()) {
		got = append(got, a.GetAction()+" "+a.GetTarget()+" by "+a.GetActor()+": "+a.GetReason())
	}
	want := []string{
		"run cancel " + id + " by token t-1: cancelled by an operator",
		"run replay " + id + " by token t-1: ",
		"cluster remove node-9 by token t-1: forced",
		"cluster leave " + self + " by token t-1: ",
		"cluster leave " + self + " by token t-1: ",
		"cluster leave: failed " + self + " by token t-1: it would cost the quorum",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit has %q, want %q", got, want)
	}
}
