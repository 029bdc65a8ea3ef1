package main

import (
	"context"

	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/transport"
)

// backend is the node as transport wants it.
type backend struct {
	*cluster.Node
	sessions func() int
}

// ClusterStatus implements [transport.Backend].
func (b *backend) ClusterStatus(ctx context.Context) (transport.ClusterStatus, error) {
	s, err := b.Status(ctx)
	if err != nil {
		return transport.ClusterStatus{}, err
	}
	out := transport.ClusterStatus{ClusterID: s.ClusterID, Leader: s.Leader}
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, transport.NodeStatus(n))
		if n.Name == b.Name() && b.sessions != nil {
			out.Nodes[len(out.Nodes)-1].Workers = b.sessions()
		}
	}
	return out, nil
}
