package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const (
	gossipLabel = "limpet"
	joinMin     = 200 * time.Millisecond
	joinMax     = 5 * time.Second
	// rejoinEvery is how often seeds that are not among the members are tried
	// again: after a long partition both sides have forgotten each other.
	rejoinEvery   = 15 * time.Second
	updateTimeout = 500 * time.Millisecond
)

// gossip is this node's place among the members.
type gossip struct {
	list  *memberlist.Memberlist
	table *memberTable
	seeds []string
	log   hclog.Logger

	mu   sync.Mutex
	meta *limpetv1.GossipMeta
}

// openGossip starts gossiping; it joins nobody yet.
func openGossip(ctx context.Context, cfg *Config, keys *keys, meta *limpetv1.GossipMeta, log hclog.Logger) (*gossip, error) {
	g := &gossip{seeds: cfg.Join, log: log, meta: meta}
	g.table = newMemberTable(func(text string) { log.Error(text) })
	if size := proto.Size(meta) + 48; size > memberlist.MetaMaxSize { // a cluster id comes later
		return nil, fmt.Errorf("addresses and version take %d bytes of gossip; %d are allowed: shorten them", size, memberlist.MetaMaxSize)
	}
	mc := gossipTuning()
	mc.Name = cfg.Name
	ring, err := keys.ring()
	if err != nil {
		return nil, err
	}
	mc.Keyring = ring
	mc.Delegate, mc.Events, mc.Alive, mc.Conflict = g, g.table, g.table, g.table
	mc.Logger = log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	if err = gossipAddresses(ctx, cfg, mc); err != nil {
		return nil, err
	}
	if mc.Transport, err = cfg.Network.Gossip(); err != nil {
		return nil, fmt.Errorf("open gossip transport: %w", err)
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("gossip on %q: %w", cfg.GossipListen, err)
	}
	return g, nil
}

// gossipTuning finds a dead node in one to two seconds on a LAN: a probe is
// missed within 0.4 s, and the suspicion lasts 1.2 s once a second node shares
// it.
func gossipTuning() *memberlist.Config {
	mc := memberlist.DefaultLANConfig()
	mc.Label = gossipLabel
	mc.ProbeInterval, mc.ProbeTimeout = 400*time.Millisecond, 200*time.Millisecond
	mc.SuspicionMult, mc.SuspicionMaxTimeoutMult = 3, 2
	mc.GossipInterval, mc.GossipNodes = 100*time.Millisecond, 3
	mc.PushPullInterval = 10 * time.Second
	mc.TCPTimeout = 2 * time.Second
	mc.EnableCompression = false // messages are small, and a compressor costs more than they do
	mc.GossipVerifyIncoming, mc.GossipVerifyOutgoing = true, true
	// A node that comes back under its name gets in at once, whatever address
	// it has now.
	mc.DeadNodeReclaimTime = time.Millisecond
	return mc
}

// gossipAddresses fills in where to listen and what to advertise; memberlist
// wants numbers for the latter.
func gossipAddresses(ctx context.Context, cfg *Config, mc *memberlist.Config) error {
	host, port, err := splitPort(cfg.GossipListen)
	if err != nil {
		return err
	}
	mc.BindAddr, mc.BindPort = host, port
	if host == "" {
		mc.BindAddr = "0.0.0.0"
	}
	if host, err = resolve(ctx, mc.BindAddr); err != nil {
		return err
	}
	mc.BindAddr, mc.AdvertisePort = host, port
	if cfg.GossipAdvertise == "" {
		return nil
	}
	if host, port, err = splitPort(cfg.GossipAdvertise); err != nil {
		return err
	}
	mc.AdvertiseAddr, err = resolve(ctx, host)
	mc.AdvertisePort = port
	return err
}

func splitPort(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port of address %q: %w", addr, err)
	}
	return host, int(port), nil
}

func resolve(ctx context.Context, host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return "", fmt.Errorf("look up gossip address %q: %w", host, err)
	}
	slices.SortStableFunc(ips, func(a, b net.IP) int { return len(b.To4()) - len(a.To4()) }) // IPv4 first
	return ips[0].String(), nil
}

// join tries the seeds until ctx ends: often while one has never been reached,
// now and then later.
func (g *gossip) join(ctx context.Context) {
	if len(g.seeds) == 0 {
		return
	}
	pause := joinMin
	for {
		missing := g.missingSeeds()
		if len(missing) > 0 {
			switch _, err := g.list.Join(missing); {
			case err == nil:
				pause = rejoinEvery
			case len(g.table.alive()) > 1:
				pause = rejoinEvery
				g.log.Debug("some seeds do not answer", "seeds", missing, "error", err)
			default:
				g.log.Warn("join: no other node answers yet; check the addresses and that all nodes have the same cluster key",
					"seeds", missing, "error", err)
				pause = min(joinMax, 2*pause)
			}
		}
		if len(g.table.alive()) > 1 {
			pause = rejoinEvery
		} else {
			pause = min(pause, joinMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
	}
}

// missingSeeds are those that no living member has for its address. A seed that
// is given as a name is always tried.
func (g *gossip) missingSeeds() []string {
	known := map[string]bool{g.list.LocalNode().Address(): true}
	for _, m := range g.table.alive() {
		known[m.addr] = true
	}
	return slices.DeleteFunc(slices.Clone(g.seeds), func(s string) bool { return known[s] })
}

// publish changes what this node says about itself. It waits for a moment, not
// for all to know.
func (g *gossip) publish(change func(*limpetv1.GossipMeta)) {
	g.mu.Lock()
	before := proto.CloneOf(g.meta)
	change(g.meta)
	same := proto.Equal(before, g.meta)
	g.mu.Unlock()
	if same {
		return
	}
	if err := g.list.UpdateNode(updateTimeout); err != nil {
		g.log.Debug("publish in gossip", "error", err) // the next push-pull carries it
	}
}

// own gives what this node publishes.
func (g *gossip) own() *limpetv1.GossipMeta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return proto.CloneOf(g.meta)
}

// leave says goodbye to the members.
func (g *gossip) leave(timeout time.Duration) error {
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// close stops gossiping without a goodbye.
func (g *gossip) close() error { return g.list.Shutdown() }

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, err := proto.Marshal(g.meta)
	if err != nil {
		return nil
	}
	return b
}

// NotifyMsg implements memberlist.Delegate; nodes send no messages this way.
func (*gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (*gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (*gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (*gossip) MergeRemoteState([]byte, bool) {}
