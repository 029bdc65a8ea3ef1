package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/rpc"
)

// membership is what the node knows of gossip as the service for members wants
// it.
func membership(g cluster.GossipInfo) rpc.Membership {
	m := rpc.Membership{ClusterID: g.ClusterID, Label: g.Label, Keys: g.Keys, LeaseTTL: g.LeaseTTL}
	for _, n := range g.Nodes {
		m.Nodes = append(m.Nodes, rpc.MemberNode(n))
	}
	return m
}

// backend is the node as transport wants it.
type backend struct {
	*cluster.Node
	sessions func() int
}

// ProposeWithin implements [transport.Backend].
func (b *backend) ProposeWithin(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error) {
	res, err := b.Node.ProposeWithin(ctx, hold, cmd)
	return res, overloaded(err)
}

// Past implements [transport.Backend].
func (b *backend) Past(ctx context.Context, id string) (*fsm.Archived, error) {
	a, err := b.Node.Past(ctx, id)
	return a, overloaded(err)
}

// RemoveNode implements [transport.Backend].
func (b *backend) RemoveNode(ctx context.Context, name fsm.NodeID, force bool) error {
	err := b.Node.RemoveNode(ctx, name, force)
	if errors.Is(err, cluster.ErrNoNode) {
		return &fsm.Refusal{Code: fsm.CodeNotFound, Field: "name", Got: string(name), Want: err.Error(), Hint: "see `limpet cluster status`"}
	}
	return err
}

// overloaded says in transport's words that nothing was done.
func overloaded(err error) error {
	if full, ok := errors.AsType[*cluster.SaturatedError](err); ok {
		return &transport.SaturatedError{After: full.After}
	}
	if errors.Is(err, cluster.ErrOverloaded) {
		return fmt.Errorf("%w: %w", transport.ErrOverloaded, err)
	}
	return err
}

// ClusterStatus implements [transport.Backend].
func (b *backend) ClusterStatus(ctx context.Context) (transport.ClusterStatus, error) {
	s, err := b.Status(ctx)
	if err != nil {
		return transport.ClusterStatus{}, err
	}
	out := transport.ClusterStatus{ClusterID: s.ClusterID, Leader: s.Leader, Saturated: b.Load().Saturated}
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, transport.NodeStatus(n))
		if n.Name == b.Name() && b.sessions != nil {
			out.Nodes[len(out.Nodes)-1].Workers = b.sessions()
		}
	}
	return out, nil
}
