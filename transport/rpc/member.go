package rpc

import (
	"context"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// Membership is how a worker's process becomes a gossip member.
type Membership struct {
	ClusterID string
	// Label and Keys are those of gossip; the key to send with comes first.
	Label string
	Keys  [][]byte
	Nodes []MemberNode
	// LeaseTTL is how long a silent worker keeps its lease.
	LeaseTTL time.Duration
}

// MemberNode is where one node is; the addresses are host:port.
type MemberNode struct {
	Name, GRPC, HTTP, Gossip string
	Alive                    bool
}

// maxBlockers is how much of what a drain waits for is told.
const maxBlockers = 50

// members is the service limpet.v1.Member.
type members struct {
	limpetv1.UnimplementedMemberServer
	*Services
}

// GetNodes says where the nodes are, and how to gossip with them.
func (m *members) GetNodes(context.Context, *limpetv1.GetNodesRequest) (*limpetv1.GetNodesResponse, error) {
	out := &limpetv1.GetNodesResponse{}
	if m.cfg.Membership == nil {
		return out, nil
	}
	known := m.cfg.Membership()
	out.ClusterId, out.GossipKeys, out.GossipLabel = known.ClusterID, known.Keys, known.Label
	out.LeaseTtlMs = known.LeaseTTL.Milliseconds()
	for _, n := range known.Nodes {
		out.Nodes = append(out.Nodes, &limpetv1.MemberNode{Name: n.Name, Grpc: n.GRPC, Http: n.HTTP, Gossip: n.Gossip, Alive: n.Alive})
	}
	return out, nil
}

// ReportExit ends the lease of a worker whose process has ended.
func (m *members) ReportExit(ctx context.Context, r *limpetv1.ReportExitRequest) (*limpetv1.ReportExitResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return nil, err
	}
	if r.GetIncarnation() == "" {
		return nil, invalid("incarnation", "", "must not be empty", "give the incarnation that the worker was registered with")
	}
	res, err := m.propose(ctx, "end the lease of worker "+id, &limpetv1.Command{Kind: &limpetv1.Command_ReportExit{
		ReportExit: &limpetv1.ReportExit{TenantId: string(t), WorkerId: id, Incarnation: r.GetIncarnation(), Reason: r.GetReason()},
	}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.ReportExitResponse{Requeued: int32(len(res.IDs) - 1)}, nil //nolint:gosec // bounded by the slots
}

// DrainWorker lets a worker go, and says what is left for it to do.
func (m *members) DrainWorker(ctx context.Context, r *limpetv1.DrainWorkerRequest) (*limpetv1.DrainWorkerResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return nil, err
	}
	if r.GetDeadlineMs() < 0 {
		return nil, invalid("deadline_ms", itoa(r.GetDeadlineMs()), "must not be negative", "0 is for none")
	}
	// Only the worker's own process may; what operators do needs another role.
	incarnation := transport.Header(ctx, limpetv1.HeaderIncarnation)
	if incarnation == "" {
		return nil, invalid("header "+limpetv1.HeaderIncarnation, "", "must not be empty", "an operator drains with `limpet worker drain`")
	}
	w, err := m.worker(ctx, fsm.WorkerID(id))
	if err != nil {
		return nil, err
	}
	if no := w.Replaced(incarnation); no != nil {
		return nil, no
	}
	if w.Mode != fsm.ModeDraining {
		_, err := m.propose(ctx, "drain worker "+id, &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{
			SetWorkerMode: &limpetv1.SetWorkerMode{
				TenantId: string(t), WorkerId: id, Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING,
				Deadline: int64(time.Duration(r.GetDeadlineMs()) * time.Millisecond), Actor: "worker", Reason: r.GetReason(),
				ByWorker: true, Incarnation: incarnation,
			},
		}})
		if err != nil {
			return nil, err
		}
		if w, err = m.worker(ctx, fsm.WorkerID(id)); err != nil {
			return nil, err
		}
	}
	return &limpetv1.DrainWorkerResponse{Drain: transport.DrainInfo(m.cfg.Backend.View(), w, maxBlockers)}, nil
}
