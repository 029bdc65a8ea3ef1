package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	// statusBudget is how long Status tries to see all nodes at the same point
	// of the log.
	statusBudget = 500 * time.Millisecond
	// statusWait is how long a node waits, before it answers, to reach the
	// point it was asked for.
	statusWait = 150 * time.Millisecond
)

// Status is one look at the whole cluster.
type Status struct {
	ClusterID string
	Leader    fsm.NodeID // empty when there is none
	Nodes     []NodeStatus
}

// NodeStatus is one node's own word on itself, or what others know of it when
// it does not answer.
type NodeStatus struct {
	Name      fsm.NodeID
	State     string // leader, follower, candidate, unreachable
	Voter     bool
	Gossip    string // alive, dead, left, unknown
	PeerAddr  string
	GRPCAddr  string
	HTTPAddr  string
	Version   string
	Term      uint64
	Commit    uint64 // raft index
	Applied   uint64 // raft index
	Seq       fsm.Seq
	StateHash string // hex, at Seq
	Workers   int    // sessions open at the node; -1 if not known
	Since     time.Duration
	Error     string // why the node could not be asked
}

// Status asks every node for its state, and tries for a moment to get the
// hashes of all at the same point of the log.
func (n *Node) Status(ctx context.Context) (Status, error) {
	if n.ctx.Err() != nil {
		return Status{}, fmt.Errorf("status: %w", ErrClosed)
	}
	list := n.knownNodes()
	end := time.Now().Add(statusBudget)
	var until fsm.Instant
	for {
		answers := n.askAll(ctx, list, until)
		equal, newest := sameInstant(answers)
		if !equal && time.Now().Before(end) && ctx.Err() == nil {
			until = newest
			continue
		}
		status := Status{ClusterID: n.View().ClusterID(), Nodes: list}
		_, id := n.raft.LeaderWithID()
		status.Leader = fsm.NodeID(id)
		for i := range list {
			fill(&list[i], answers[i])
		}
		return status, nil
	}
}

// knownNodes are those of Raft's configuration and of gossip, by name.
func (n *Node) knownNodes() []NodeStatus {
	byName := map[string]*NodeStatus{}
	for _, s := range n.servers() {
		byName[string(s.ID)] = &NodeStatus{
			Name: fsm.NodeID(s.ID), Voter: s.Suffrage == raft.Voter, PeerAddr: string(s.Address), Gossip: "unknown",
		}
	}
	for _, m := range n.gossip.table.all() {
		s := byName[m.name]
		if s == nil {
			if m.state == memberLeft {
				continue
			}
			s = &NodeStatus{Name: fsm.NodeID(m.name)}
			byName[m.name] = s
		}
		s.Gossip, s.PeerAddr, s.GRPCAddr = m.state.String(), m.meta.GetPeerAddr(), m.meta.GetGrpcAddr()
		s.HTTPAddr, s.Version = m.meta.GetHttpAddr(), m.meta.GetVersion()
	}
	list := make([]NodeStatus, 0, len(byName))
	for _, s := range byName {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b NodeStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// nodeAnswer is what one node said, or why it did not.
type nodeAnswer struct {
	said *limpetv1.NodeStatusAnswer
	err  error
}

func (n *Node) askAll(ctx context.Context, list []NodeStatus, until fsm.Instant) []nodeAnswer {
	answers := make([]nodeAnswer, len(list))
	var all sync.WaitGroup
	for i := range list {
		all.Go(func() { answers[i] = n.askStatus(ctx, &list[i], until) })
	}
	all.Wait()
	return answers
}

func (n *Node) askStatus(ctx context.Context, s *NodeStatus, until fsm.Instant) nodeAnswer {
	r := &limpetv1.NodeStatusRequest{WaitInstant: int64(until), WithHash: true}
	if s.Name == n.Name() {
		return nodeAnswer{said: n.localStatus(ctx, r)}
	}
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	conn, err := n.peers.conn(ctx, s.PeerAddr)
	if err != nil {
		return nodeAnswer{err: err}
	}
	f, err := conn.call(ctx, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_NodeStatusRequest{NodeStatusRequest: r}})
	if err != nil {
		return nodeAnswer{err: fmt.Errorf("ask node %q: %w", s.Name, err)}
	}
	if f.GetNodeStatusAnswer() == nil {
		return nodeAnswer{err: errors.New("its build does not know this request")}
	}
	return nodeAnswer{said: f.GetNodeStatusAnswer()}
}

// sameInstant says whether all that answered did so at one point of the log,
// and which is the newest.
func sameInstant(answers []nodeAnswer) (equal bool, newest fsm.Instant) {
	oldest, first := fsm.Instant(0), true
	for _, a := range answers {
		if a.said == nil {
			continue
		}
		at := fsm.Instant(a.said.GetInstant())
		if first {
			oldest, newest, first = at, at, false
		}
		oldest, newest = min(oldest, at), max(newest, at)
	}
	return oldest == newest, newest
}

func fill(s *NodeStatus, a nodeAnswer) {
	if a.said == nil {
		s.State, s.Workers, s.Error = "unreachable", -1, a.err.Error()
		return
	}
	s.State, s.Term, s.Commit, s.Applied = a.said.GetState(), a.said.GetTerm(), a.said.GetCommit(), a.said.GetApplied()
	s.Seq, s.StateHash, s.Workers = fsm.Seq(a.said.GetSeq()), a.said.GetStateHash(), int(a.said.GetWorkers())
	s.Since, s.Version = time.Duration(a.said.GetUptimeNanos()), a.said.GetVersion()
	s.PeerAddr, s.GRPCAddr, s.HTTPAddr = a.said.GetPeerAddr(), a.said.GetGrpcAddr(), a.said.GetHttpAddr()
}

// localStatus is this node's own word.
func (n *Node) localStatus(ctx context.Context, r *limpetv1.NodeStatusRequest) *limpetv1.NodeStatusAnswer {
	wait, cancel := context.WithTimeout(ctx, statusWait)
	_ = n.machine.wait(wait, fsm.Instant(r.GetWaitInstant())) // whether it came so far shows in the answer
	cancel()
	at := n.machine.state()
	meta := n.gossip.own()
	_, leader := n.raft.LeaderWithID()
	a := &limpetv1.NodeStatusAnswer{
		State: strings.ToLower(n.raft.State().String()), Leader: string(leader),
		Term: n.raft.CurrentTerm(), Commit: n.raft.CommitIndex(), Applied: n.raft.AppliedIndex(),
		Seq: uint64(at.view.Seq()), Instant: int64(at.stamp.Instant),
		Version: meta.GetVersion(), PeerAddr: meta.GetPeerAddr(), GrpcAddr: meta.GetGrpcAddr(), HttpAddr: meta.GetHttpAddr(),
		UptimeNanos: int64(n.awake.Now().Sub(n.contact.opened)),
	}
	if r.GetWithHash() {
		a.StateHash = fmt.Sprintf("%016x", at.hash())
	}
	for w := range at.view.Workers() {
		if w.Lease.State == fsm.LeaseLive && w.Lease.Node == n.Name() {
			a.Workers++
		}
	}
	return a
}
