package transporttest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/rpc"
	"github.com/limpet-dev/limpet/transport/session"
)

// Patience is how long a test waits for what must come: long, since it is only
// waited for in full when something is broken.
const Patience = 20 * time.Second

// Node listens for the cluster, in memory. It is its own [transport.Backend].
type Node struct {
	Hub      *session.Hub
	Counters *transport.Counters
	Verifier *auth.Verifier

	cluster     *Cluster
	name        fsm.NodeID
	incarnation string
	server      *transport.Server
	listener    *bufconn.Listener

	mu      sync.Mutex
	vouched map[fsm.WorkerID]int
}

func newNode(tb testing.TB, c *Cluster, name string) *Node {
	tb.Helper()
	n := &Node{
		Counters: transport.NewCounters(), cluster: c, name: fsm.NodeID(name), incarnation: uuid.NewString(),
		vouched: map[fsm.WorkerID]int{},
	}
	n.Verifier = auth.NewVerifier(n.View, c.Wall)
	logger := c.cfg.Logger.Named(name)
	n.Hub = session.NewHub(session.Config{
		Backend: n, Counters: n.Counters, Logger: logger, MaxMessage: c.cfg.MaxMessage, RedeliverAfter: c.cfg.RedeliverAfter,
	})
	n.server = transport.NewServer(transport.ServerConfig{
		Verifier: n.Verifier, Counters: n.Counters, Logger: logger, MaxMessage: c.cfg.MaxMessage, Drain: n.Hub.Shutdown,
	})
	rpc.New(rpc.Config{
		Backend: n, Hub: n.Hub, Counters: n.Counters, Logger: logger, MaxMessage: c.cfg.MaxMessage,
		Hold: c.cfg.Hold, ReadHold: c.cfg.Hold, RegisterHold: c.cfg.RegisterHold,
	}).Register(n.server)
	const buffer = 1 << 20
	n.listener = bufconn.Listen(buffer)
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(n.listener) }()
	tb.Cleanup(func() {
		c.SetLeader(true)
		n.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := n.Hub.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// Stop stops the node's server as a node that shuts down does.
func (n *Node) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	n.server.Stop(ctx)
}

// Vouched says how often the node was told that a worker lives.
func (n *Node) Vouched(w fsm.WorkerID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.vouched[w]
}

// Token issues a token of the cluster's tenant.
func (n *Node) Token(tb testing.TB, role auth.Role) string {
	tb.Helper()
	token, err := auth.Issue(n.View(), auth.Grant{
		Tenant: n.cluster.Tenant, Role: role, ServerURL: "http://limpet.test:8888", GRPCAddress: "limpet.test:7077",
		Issued: n.cluster.Wall(), TTL: time.Hour,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// Dial connects to the node with a token; "" for none.
func (n *Node) Dial(tb testing.TB, token string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.listener.DialContext(ctx) }),
	}, opts...)
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient("passthrough:///"+string(n.name), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bearer sends a token with every call, as the SDKs do.
type bearer string

// GetRequestMetadata implements the interface of grpc's credentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity lets the token go over the memory of the test.
func (b bearer) RequireTransportSecurity() bool { return false }

// Name implements [transport.Backend].
func (n *Node) Name() fsm.NodeID { return n.name }

// Incarnation implements [transport.Backend].
func (n *Node) Incarnation() string { return n.incarnation }

// View implements [transport.Backend].
func (n *Node) View() fsm.View { return n.cluster.View() }

// ProposeWithin implements [transport.Backend].
func (n *Node) ProposeWithin(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	return n.cluster.propose(ctx, cmd)
}

// Vouch implements [transport.Backend].
func (n *Node) Vouch(w fsm.WorkerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.vouched[w]++
}

// Barrier implements [transport.Backend].
func (n *Node) Barrier(ctx context.Context) error { return n.cluster.awaitLeader(ctx) }

// Past implements [transport.Backend].
func (n *Node) Past(_ context.Context, id string) (*fsm.Archived, error) {
	return n.cluster.past(id), nil
}

// PastRuns implements [transport.Backend].
func (n *Node) PastRuns(visit func(*fsm.Archived) bool) error {
	n.cluster.pastRuns(visit)
	return nil
}

// ClusterStatus implements [transport.Backend].
func (n *Node) ClusterStatus(context.Context) (transport.ClusterStatus, error) {
	view := n.View()
	out := transport.ClusterStatus{ClusterID: view.ClusterID(), Leader: n.cluster.Nodes[0].name}
	for i, node := range n.cluster.Nodes {
		state := "follower"
		if i == 0 {
			state = "leader"
		}
		out.Nodes = append(out.Nodes, transport.NodeStatus{
			Name: node.name, State: state, Voter: true, Gossip: "alive", Version: "test", Term: 1, Seq: view.Seq(),
			StateHash: fmt.Sprintf("%016x", view.Hash()), Workers: len(node.Hub.Sessions()),
		})
	}
	return out, nil
}

// RemoveNode implements [transport.Backend]; the bed cannot.
func (n *Node) RemoveNode(_ context.Context, name fsm.NodeID, _ bool) error {
	return fmt.Errorf("remove node %q: the bed has no membership", name)
}

// TransferLeadership implements [transport.Backend]; the bed cannot.
func (n *Node) TransferLeadership(context.Context) error {
	return fmt.Errorf("transfer leadership from %q: the bed has no leaders", n.name)
}
