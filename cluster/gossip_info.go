package cluster

import "time"

// GossipInfo is what the process of a worker needs to become a gossip member.
type GossipInfo struct {
	ClusterID string
	Label     string
	// Keys are the gossip keys, the one to send with first; none on a dev node
	// without a key.
	Keys     [][]byte
	Nodes    []MemberNode
	LeaseTTL time.Duration
}

// MemberNode is where a node is; the addresses are host:port.
type MemberNode struct {
	Name, GRPC, HTTP, Gossip string
	Alive                    bool
}

// GossipInfo gives the nodes that are in the cluster or were heard of in gossip,
// and how to gossip with them.
func (n *Node) GossipInfo() GossipInfo {
	info := GossipInfo{ClusterID: n.View().ClusterID(), Label: gossipLabel, Keys: n.keys.gossip(), LeaseTTL: n.cfg.Lease.TTL}
	for _, m := range n.gossip.table.all() {
		if m.meta.GetLeaving() || m.state == memberLeft {
			continue
		}
		info.Nodes = append(info.Nodes, MemberNode{
			Name: m.name, GRPC: m.meta.GetGrpcAddr(), HTTP: m.meta.GetHttpAddr(), Gossip: m.addr, Alive: m.state == memberAlive,
		})
	}
	return info
}
