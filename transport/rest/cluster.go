package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

const (
	// statusAge is how old a status may be that callers without a token get, so
	// that they cannot keep all nodes busy.
	statusAge = time.Second
	// statusWait bounds how long all nodes may be asked.
	statusWait = 5 * time.Second
)

type clusterAnswer struct {
	ClusterID string       `json:"cluster_id"`
	Leader    string       `json:"leader"` // empty when there is none
	Nodes     []nodeAnswer `json:"nodes"`
}

type nodeAnswer struct {
	Name          string  `json:"name"`
	State         string  `json:"state"`
	Voter         bool    `json:"voter"`
	Gossip        string  `json:"gossip"`
	PeerAddr      string  `json:"peer_addr"`
	GRPCAddr      string  `json:"grpc_addr"`
	HTTPAddr      string  `json:"http_addr"`
	Version       string  `json:"version"`
	Term          uint64  `json:"term"`
	Commit        uint64  `json:"commit"`
	Applied       uint64  `json:"applied"`
	Seq           uint64  `json:"seq"`
	StateHash     string  `json:"state_hash"`
	Workers       int     `json:"workers"` // sessions open at the node; -1 if not known
	UptimeSeconds float64 `json:"uptime_seconds"`
	Error         string  `json:"error"`
}

type summaryAnswer struct {
	Leader string        `json:"leader"`
	Node   string        `json:"node"` // who answers
	Nodes  []summaryNode `json:"nodes"`
}

type summaryNode struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// cluster tells all of the cluster's status, freshly asked.
func (s *server) cluster(r *http.Request, _ fsm.TenantID) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), statusWait)
	defer cancel()
	status, err := s.Backend.ClusterStatus(ctx)
	if err != nil {
		return nil, unavailable("ask the nodes for their state: %v", err)
	}
	out := clusterAnswer{ClusterID: status.ClusterID, Leader: string(status.Leader), Nodes: []nodeAnswer{}}
	for i := range status.Nodes {
		n := &status.Nodes[i]
		out.Nodes = append(out.Nodes, nodeAnswer{
			Name: string(n.Name), State: n.State, Voter: n.Voter, Gossip: n.Gossip,
			PeerAddr: n.PeerAddr, GRPCAddr: n.GRPCAddr, HTTPAddr: n.HTTPAddr, Version: n.Version,
			Term: n.Term, Commit: n.Commit, Applied: n.Applied, Seq: uint64(n.Seq), StateHash: n.StateHash,
			Workers: n.Workers, UptimeSeconds: n.Since.Seconds(), Error: n.Error,
		})
	}
	return out, nil
}

// summary tells what anybody may know.
func (s *server) summary(w http.ResponseWriter, r *http.Request) {
	status, err := s.status.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := summaryAnswer{Leader: string(status.Leader), Node: string(s.Backend.Name()), Nodes: []summaryNode{}}
	for i := range status.Nodes {
		out.Nodes = append(out.Nodes, summaryNode{string(status.Nodes[i].Name), status.Nodes[i].State})
	}
	s.writeJSON(w, http.StatusOK, out)
}

// statusCache keeps the latest status for callers without a token, and asks
// for a new one at most once at a time.
type statusCache struct {
	backend transport.Backend
	turn    chan struct{} // holds one value; who has it may use the rest
	status  transport.ClusterStatus
	at      time.Time
}

func newStatusCache(b transport.Backend) *statusCache {
	c := &statusCache{backend: b, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

func (c *statusCache) get(ctx context.Context) (transport.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	select {
	case <-c.turn:
	case <-ctx.Done():
		return transport.ClusterStatus{}, fmt.Errorf("wait for the cluster's status: %w", ctx.Err())
	}
	defer func() { c.turn <- struct{}{} }()
	if !c.at.IsZero() && time.Since(c.at) < statusAge {
		return c.status, nil
	}
	status, err := c.backend.ClusterStatus(ctx)
	if err != nil {
		return status, fmt.Errorf("ask the nodes for their state: %w", err)
	}
	c.status, c.at = status, time.Now()
	return status, nil
}
