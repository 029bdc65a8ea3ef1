package cluster

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// openRaft starts Raft on what the storage holds.
func openRaft(cfg *Config, s *storage, f *machine, t raft.Transport, log hclog.Logger) (*raft.Raft, error) {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(cfg.Name)
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = cfg.Raft.Heartbeat, cfg.Raft.Election, cfg.Raft.Lease
	rc.CommitTimeout = cfg.Raft.CommitTimeout
	rc.SnapshotThreshold, rc.TrailingLogs = math.MaxUint64, cfg.Raft.TrailingLogs // see Node.snapshots
	rc.ShutdownOnRemove = false                                                   // a node that was removed may be added again
	rc.NoLegacyTelemetry = true
	rc.Logger = log
	type started struct {
		raft *raft.Raft
		err  error
	}
	out := make(chan started, 1)
	go func() { // it writes the term, and ends if the disk is given up over that
		defer close(out)
		r, err := raft.NewRaft(rc, f, s.logs, s.stable, s.snaps, t)
		out <- started{r, err}
	}()
	switch r, ok := <-out; {
	case !ok:
		return nil, fmt.Errorf("start raft: %w", ErrDisk)
	case r.err != nil:
		return nil, fmt.Errorf("start raft: %w", r.err)
	default:
		return r.raft, nil
	}
}

// leaderConn gives a connection to the leader; nil when none is known, when it
// does not answer, or when it is this node.
func (n *Node) leaderConn(ctx context.Context) *peerConn {
	addr, id := n.raft.LeaderWithID()
	if addr == "" || string(id) == n.cfg.Name {
		return nil
	}
	conn, err := n.peers.conn(ctx, string(addr))
	if err != nil {
		n.log.Debug("the leader does not answer", "leader", id, "error", err)
		return nil
	}
	return conn
}

// findRoute is the way of this node's commands at the moment.
func (n *Node) findRoute(ctx context.Context) route {
	if r := n.current.Load(); r != nil {
		return r
	}
	if conn := n.leaderConn(ctx); conn != nil {
		return conn
	}
	return nil
}

// watchLeader wakes the forwarder when Raft names another leader.
func (n *Node) watchLeader(ctx context.Context) {
	seen := make(chan raft.Observation, 16)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(o)
	defer n.raft.DeregisterObserver(o)
	for {
		select {
		case <-ctx.Done():
			return
		case <-seen:
			signal(n.forward.wake)
		}
	}
}

// tend looks after what gossip says of this node.
func (n *Node) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if id := n.View().ClusterID(); n.gossip.table.setCluster(id) {
			n.gossip.publish(func(m *limpetv1.GossipMeta) { m.ClusterId = id })
		}
		if n.retiring.fails(&n.contact, n.cfg.Name, n.servers()) {
			n.log.Warn("this node was not removed from the cluster: it stays in it")
			n.gossip.publish(func(m *limpetv1.GossipMeta) { m.Leaving = false })
		}
	}
}

// servePeer owns a connection that another node opened.
func (n *Node) servePeer(conn net.Conn) { n.server.serve(n.ctx, conn) }

// onRefused takes commands back that a node did not take.
func (n *Node) onRefused(r *limpetv1.PeerRefused) {
	if len(r.GetRequestIds()) == 0 {
		n.forward.resendAll()
	}
	ids := make([]string, 0, len(r.GetRequestIds()))
	for _, id := range r.GetRequestIds() {
		ids = append(ids, string(id))
	}
	n.forward.refused(refusal{r.GetReason(), ids, time.Duration(r.GetRetrySeconds()) * time.Second})
}

// awaitFuture waits for what Raft says, until ctx ends: one that Raft had taken when it
// was shut down may never be answered.
func awaitFuture(ctx context.Context, f raft.Future) error {
	answer := make(chan error, 1)
	go func() { answer <- f.Error() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
