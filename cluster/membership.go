package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	membershipTick    = time.Second
	membershipTimeout = 5 * time.Second
)

// keepMembership is the leader's duty to let in nodes that gossip brings and to
// follow those that changed their address. It never removes any: a dead node
// comes back, or an operator says that it does not.
func (n *Node) keepMembership(ctx context.Context) error {
	tick := time.NewTicker(membershipTick)
	defer tick.Stop()
	for {
		for _, m := range n.gossip.table.alive() {
			if !n.missing(m) {
				continue
			}
			addr := m.meta.GetPeerAddr()
			n.log.Info("adding node to the cluster", "node", m.name, "addr", addr)
			if err := awaitFuture(ctx, n.raft.AddVoter(raft.ServerID(m.name), raft.ServerAddress(addr), 0, membershipTimeout)); err != nil {
				n.log.Warn("add node to the cluster; trying again", "node", m.name, "error", err)
			}
			if ctx.Err() != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.gossip.table.changed:
		case <-tick.C:
		}
	}
}

// missing says whether a member has to be added, or its address changed.
func (n *Node) missing(m member) bool {
	id := n.View().ClusterID()
	if m.meta.GetLeaving() || m.meta.GetPeerAddr() == "" || m.meta.GetClusterId() != "" && m.meta.GetClusterId() != id {
		return false
	}
	for _, s := range n.servers() {
		if string(s.ID) == m.name {
			return string(s.Address) != m.meta.GetPeerAddr()
		}
	}
	return !n.retired(m.name)
}

// servers is Raft's newest configuration.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers
}

// otherServers are Raft's servers but this node.
func (n *Node) otherServers() []raft.Server {
	var out []raft.Server
	for _, s := range n.servers() {
		if string(s.ID) != n.cfg.Name {
			out = append(out, s)
		}
	}
	return out
}

// retired says whether this node, as leader, removed another while it was
// alive, so that it must not be added at once.
func (n *Node) retired(name string) bool {
	at, ok := n.removed.Load(name)
	if !ok {
		return false
	}
	when, ok := at.(time.Time)
	return ok && time.Since(when) < time.Minute
}

// RemoveNode takes a node out of the cluster for good. It is refused, with an
// error that wraps ErrRefused and says what to do, unless the voters that remain
// have a live quorum; and if the node is alive, unless it is forced. The error
// wraps ErrNoNode if there is no node of that name.
func (n *Node) RemoveNode(ctx context.Context, name fsm.NodeID, force bool) error {
	return n.askLeader(ctx, &limpetv1.MembershipRequest{Action: limpetv1.MembershipRequest_REMOVE, Node: string(name), Force: force})
}

// TransferLeadership hands leadership to the most up-to-date other node.
func (n *Node) TransferLeadership(ctx context.Context) error {
	return n.askLeader(ctx, &limpetv1.MembershipRequest{Action: limpetv1.MembershipRequest_TRANSFER})
}

// Leave takes this node out of the cluster for good, says goodbye in gossip and
// closes it.
func (n *Node) Leave(ctx context.Context) error {
	n.gossip.publish(func(m *limpetv1.GossipMeta) { m.Leaving = true })
	if err := n.RemoveNode(ctx, n.Name(), true); err != nil && !errors.Is(err, ErrNoNode) { // else it was done before
		n.gossip.publish(func(m *limpetv1.GossipMeta) { m.Leaving = false })
		return fmt.Errorf("leave: %w", err)
	}
	err := n.gossip.leave(time.Second)
	return errors.Join(err, n.Close(ctx))
}

// askLeader does a change of membership here or has the leader do it.
func (n *Node) askLeader(ctx context.Context, r *limpetv1.MembershipRequest) error {
	for {
		err := n.tryAskLeader(ctx, r)
		if !errors.Is(err, errNotLeader) {
			return err
		}
		select { // an election is under way
		case <-ctx.Done():
			return fmt.Errorf("%w: no leader: %w", ErrUnavailable, context.Cause(ctx))
		case <-n.ctx.Done():
			return ErrClosed
		case <-time.After(forwardTick):
		}
	}
}

func (n *Node) tryAskLeader(ctx context.Context, r *limpetv1.MembershipRequest) error {
	if n.current.Load() != nil {
		return n.localMembership(ctx, r)
	}
	if conn := n.leaderConn(ctx); conn != nil {
		return askMembership(ctx, conn, r)
	}
	if n.Outside() == "" {
		return errNotLeader
	}
	return n.askAround(ctx, r)
}

// askAround asks all other nodes: no leader makes itself known to one that is out.
func (n *Node) askAround(ctx context.Context, r *limpetv1.MembershipRequest) error {
	leaves := r.GetAction() == limpetv1.MembershipRequest_REMOVE && r.GetNode() == n.cfg.Name // which may be asked for twice
	for _, m := range n.gossip.table.alive() {
		if m.name == n.cfg.Name || m.meta.GetPeerAddr() == "" {
			continue
		}
		err := n.askNode(ctx, m.meta.GetPeerAddr(), r)
		again := leaves && errors.Is(err, ErrUnavailable)
		if !again && !errors.Is(err, errNotLeader) {
			return err
		}
	}
	return errNotLeader
}

// askNode asks one for a change of membership, if it can be reached.
func (n *Node) askNode(ctx context.Context, addr string, r *limpetv1.MembershipRequest) error {
	ctx, cancel := context.WithTimeout(ctx, membershipTimeout)
	defer cancel()
	conn, err := n.peers.conn(ctx, addr)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotLeader, err)
	}
	return askMembership(ctx, conn, r)
}

func askMembership(ctx context.Context, conn *peerConn, r *limpetv1.MembershipRequest) error {
	f, err := conn.call(ctx, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_MembershipRequest{MembershipRequest: r}})
	if err != nil {
		return fmt.Errorf("%w: ask the leader: %w", ErrUnavailable, err)
	}
	if f.GetMembershipAnswer() == nil {
		return errors.New("the leader's build does not know this request: upgrade it")
	}
	text := f.GetMembershipAnswer().GetError()
	switch text {
	case "":
		return nil
	case errNotLeader.Error():
		return errNotLeader
	}
	for _, known := range []error{ErrRefused, ErrNoNode, ErrUnavailable} {
		if rest, ok := strings.CutPrefix(text, known.Error()); ok {
			return fmt.Errorf("%w%s", known, rest)
		}
	}
	return errors.New(text)
}

// localMembership does what this node was asked to.
func (n *Node) localMembership(ctx context.Context, r *limpetv1.MembershipRequest) error {
	if r.GetAction() != limpetv1.MembershipRequest_RETIRE && n.current.Load() == nil {
		return errNotLeader
	}
	switch r.GetAction() {
	case limpetv1.MembershipRequest_RETIRE:
		n.log.Warn("this node is being removed from the cluster")
		n.retiring.begin(&n.contact, n.awake.Now())
		n.gossip.publish(func(m *limpetv1.GossipMeta) { m.Leaving = true })
		return nil
	case limpetv1.MembershipRequest_TRANSFER:
		return n.transfer(ctx)
	case limpetv1.MembershipRequest_REMOVE:
		return n.remove(ctx, r.GetNode(), r.GetForce())
	default:
		return fmt.Errorf("unknown change of membership %v", r.GetAction())
	}
}

func (n *Node) transfer(ctx context.Context) error {
	if len(n.servers()) < 2 {
		return fmt.Errorf("%w: this is the only node", ErrRefused)
	}
	if err := n.abdicate(ctx); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

// remove is the leader's side of RemoveNode.
func (n *Node) remove(ctx context.Context, name string, force bool) error {
	alive := n.answering(ctx)
	if err := checkRemoval(name, n.servers(), alive); err != nil {
		return n.settled(ctx, err)
	}
	if alive[name] && !force {
		return fmt.Errorf("%w: node %q is alive: stop it first, or tell it to leave (`limpet cluster leave --addr` with its address), or give --force",
			ErrRefused, name)
	}
	if m, ok := n.gossip.table.get(name); ok && m.state == memberAlive && name != n.cfg.Name {
		n.removed.Store(name, time.Now())
		ask, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if conn, err := n.peers.conn(ask, m.meta.GetPeerAddr()); err == nil {
			err = askMembership(ask, conn, &limpetv1.MembershipRequest{Action: limpetv1.MembershipRequest_RETIRE})
			if err != nil {
				n.log.Debug("tell a node that it is removed", "node", name, "error", err)
			}
		}
	}
	if err := awaitFuture(ctx, n.raft.RemoveServer(raft.ServerID(name), 0, membershipTimeout)); err != nil {
		return fmt.Errorf("%w: remove node %q: whether it was done shows in the status: %w", ErrUnavailable, name, err)
	}
	n.log.Info("removed node from the cluster", "node", name)
	return nil
}

// settled gives the error, that there is no such node only once the configuration
// without it is committed: the next leader may undo a removal that is under way.
func (n *Node) settled(ctx context.Context, err error) error {
	if !errors.Is(err, ErrNoNode) {
		return err
	}
	if b := awaitFuture(ctx, n.raft.Barrier(membershipTimeout)); b != nil {
		return fmt.Errorf("%w: the latest change of the membership: %w", ErrUnavailable, b)
	}
	return err
}

// answering gives the nodes that answer now. Gossip takes seconds to believe that a
// node has died, and a removal in that time may cost the quorum.
func (n *Node) answering(ctx context.Context) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, removalPatience)
	defer cancel()
	var list []NodeStatus
	for _, s := range n.otherServers() {
		list = append(list, NodeStatus{Name: fsm.NodeID(s.ID), PeerAddr: string(s.Address)})
	}
	alive := map[string]bool{n.cfg.Name: true}
	for i, a := range n.askAll(ctx, list, 0) {
		alive[string(list[i].Name)] = a.err == nil
	}
	return alive
}

// removalPatience is how long the nodes have to answer.
const removalPatience = time.Second

// checkRemoval refuses what would leave the cluster without a live quorum.
func checkRemoval(name string, servers []raft.Server, alive map[string]bool) error {
	if !slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == name }) {
		names := make([]string, len(servers))
		for i, s := range servers {
			names[i] = string(s.ID)
		}
		return fmt.Errorf("%w in the cluster, which has %s", ErrNoNode, strings.Join(names, ", "))
	}
	voters, live := 0, 0
	var dead []string
	for _, s := range servers {
		if string(s.ID) == name || s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if alive[string(s.ID)] {
			live++
		} else {
			dead = append(dead, string(s.ID))
		}
	}
	switch need := voters/2 + 1; {
	case voters == 0:
		return fmt.Errorf("%w: node %q is the last one; stop it and delete its data directory instead", ErrRefused, name)
	case live < need:
		return fmt.Errorf("%w: without node %q, %d of %d nodes are alive and %d are needed; first start or replace %s",
			ErrRefused, name, live, voters, need, strings.Join(dead, ", "))
	}
	return nil
}
