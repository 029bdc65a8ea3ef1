// Package member makes the process of a worker a gossip member of the cluster
// and keeps its list of nodes fresh.
//
// Gossip gives the nodes a second way to see whether the process lives. It never
// decides anything: that is the log's.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	// refreshEvery is how often the nodes are asked where they all are.
	refreshEvery = 20 * time.Second
	// retryEvery is the pause after a node did not answer.
	retryEvery = time.Second
	callFor    = 3 * time.Second
	// startFor bounds what Start waits for the first answer.
	startFor = 5 * time.Second
)

// Config is what a Member is made of.
type Config struct {
	// Nodes are learnt into and asked through.
	Nodes *nodes.Set
	// Token is an API token of any role.
	Token string
	// Bind is the host:port to gossip on; empty for the address by which the node
	// is reached and any free port. Advertise is what others use instead; empty
	// for Bind.
	Bind, Advertise string
	// Disabled leaves gossip out; the nodes are still learnt.
	Disabled bool
	// Version is published in gossip.
	Version string
	Logger  *slog.Logger
}

// Member is a process among the members. Its goroutine ends with Leave or Close.
type Member struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	gossip *gossip
	last   *limpetv1.GetNodesResponse
	// mute: the server does not know of members, or gossip could not be opened;
	// that was said once.
	mute bool
}

// Start asks the nodes where they are and joins their gossip. It waits a few
// seconds for the first answer; when there is none it goes on trying by itself.
// The error is that of the context only: a server that does not know of members
// is served without.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Member{cfg: cfg, done: make(chan struct{})}
	first, stop := context.WithTimeout(ctx, startFor)
	defer stop()
	for !m.refresh(first) && first.Err() == nil {
		pause(first, retryEvery/10)
	}
	if err := ctx.Err(); err != nil {
		m.Close()
		return nil, fmt.Errorf("join the cluster's gossip: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	go m.run(run)
	return m, nil
}

// Name is the process's name in gossip; empty while it does not gossip.
func (m *Member) Name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gossip == nil {
		return ""
	}
	return m.gossip.name
}

// Nodes gives what the nodes said last of themselves; nil before the first
// answer.
func (m *Member) Nodes() []*limpetv1.MemberNode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last.GetNodes()
}

// Leave says goodbye to the members, within ctx, and stops gossiping.
func (m *Member) Leave(ctx context.Context) error {
	m.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gossip == nil {
		return nil
	}
	err := m.gossip.leave(ctx)
	m.gossip = nil
	return err
}

// Close stops gossiping without a goodbye.
func (m *Member) Close() {
	m.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gossip != nil {
		m.gossip.close()
		m.gossip = nil
	}
}

func (m *Member) stop() {
	if m.cancel != nil {
		m.cancel()
		<-m.done
	}
}

func (m *Member) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		wait := refreshEvery
		if !m.refresh(ctx) {
			wait = retryEvery
		}
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// refresh asks a node for all nodes; false if none answered.
func (m *Member) refresh(ctx context.Context) bool {
	conn, err := m.cfg.Nodes.Get()
	if err != nil {
		return false
	}
	call, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+m.cfg.Token), callFor)
	defer cancel()
	res, err := limpetv1.NewMemberClient(conn).GetNodes(call, &limpetv1.GetNodesRequest{})
	switch code := status.Code(err); {
	case err == nil:
	case code == codes.Unimplemented:
		m.quiet("the server does not know of members: no gossip", nil)
		return true
	case ctx.Err() != nil:
		return false
	default:
		m.cfg.Logger.Debug("ask a node for the others", "node", conn.Addr, "error", err)
		if code == codes.Unavailable || code == codes.DeadlineExceeded {
			m.cfg.Nodes.Failed(conn)
		}
		return false
	}
	var addrs []string
	for _, n := range res.GetNodes() {
		if n.GetGrpc() != "" {
			addrs = append(addrs, n.GetGrpc())
		}
	}
	slices.Sort(addrs)
	m.cfg.Nodes.Learn(addrs)
	m.follow(conn.Addr, res)
	return true
}

// follow opens gossip when it can be, and keeps its keys and its company.
func (m *Member) follow(node string, res *limpetv1.GetNodesResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = res
	if m.cfg.Disabled || m.mute || len(res.GetNodes()) == 0 {
		return
	}
	if m.gossip == nil {
		g, err := openGossip(&m.cfg, node, res)
		if err != nil {
			m.mute = true
			m.cfg.Logger.Warn("no gossip: the loss of this process will be noticed later", "error", err)
			return
		}
		m.gossip = g
	}
	if err := errors.Join(m.gossip.setKeys(res.GetGossipKeys()), m.gossip.join(res.GetNodes())); err != nil {
		m.cfg.Logger.Debug("gossip", "error", err)
	}
}

// quiet says once that there is no gossip.
func (m *Member) quiet(text string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mute {
		m.mute = true
		m.cfg.Logger.Debug(text, "error", err)
	}
}
