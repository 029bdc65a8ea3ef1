package cluster

import (
	"slices"

	"github.com/hashicorp/raft"
)

// Outside says why this node is no part of the cluster, so that its state falls
// behind for good and must not be read; "" while it is part of one, or of none yet.
func (n *Node) Outside() string {
	return outside(n.cfg.Name, n.servers(), n.retiring.Load() && n.contact.isolated.Load())
}

// outside judges by the newest configuration that the node has: the leader sends
// the one without it, once. A node that could not get it was told beforehand, and
// hears of no leader now.
func outside(name string, servers []raft.Server, dismissed bool) string {
	listed := slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == name })
	if len(servers) == 0 || listed && !dismissed {
		return ""
	}
	return "node " + name + " is not in the cluster: it was removed, or is not added yet; ask another node"
}
