package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// roleWorker is the gossip role of the processes of workers, and metaFormat the
// version of what they publish.
const (
	roleWorker = "worker"
	metaFormat = 1
)

// gossip is the process's place among the members.
type gossip struct {
	name    string
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring
	keys    [][]byte
	meta    *limpetv1.GossipMeta
	leaving atomic.Bool
}

func openGossip(cfg *Config, node string, res *limpetv1.GetNodesResponse) (*gossip, error) {
	g := &gossip{
		name: "worker-" + uuid.NewString(), keys: res.GetGossipKeys(),
		meta: &limpetv1.GossipMeta{Role: roleWorker, Version: cfg.Version, ClusterId: res.GetClusterId(), Format: metaFormat},
	}
	mc := tuning()
	mc.Name, mc.Label, mc.Delegate = g.name, res.GetGossipLabel(), g
	mc.Logger = log.New(slogWriter{cfg.Logger}, "", 0)
	var err error
	if len(g.keys) > 0 {
		if g.keyring, err = memberlist.NewKeyring(g.keys, g.keys[0]); err != nil {
			return nil, fmt.Errorf("gossip keys: %w", err)
		}
		mc.Keyring = g.keyring
	}
	if err := addresses(cfg, node, mc); err != nil {
		return nil, err
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("gossip on %s:%d: %w", mc.BindAddr, mc.BindPort, err)
	}
	return g, nil
}

// tuning makes workers cheap: the nodes look after them more often than they
// look after each other, and a broken stream is probed for at once.
func tuning() *memberlist.Config {
	mc := memberlist.DefaultLANConfig()
	mc.ProbeInterval, mc.ProbeTimeout = time.Second, 300*time.Millisecond
	mc.GossipInterval, mc.GossipNodes = 200*time.Millisecond, 3
	mc.PushPullInterval = 30 * time.Second
	mc.TCPTimeout = 2 * time.Second
	mc.DeadNodeReclaimTime = time.Millisecond
	mc.HandoffQueueDepth = 256
	mc.EnableCompression = false // messages are small, and a compressor costs more than they do
	return mc
}

// addresses fills in where to listen: by default on the address from which the
// node is reached, so that it can be reached back.
func addresses(cfg *Config, node string, mc *memberlist.Config) error {
	bind := cfg.Bind
	if bind == "" {
		probe, err := net.Dial("udp", node) //nolint:noctx // it sends nothing: it asks the routing table
		if err != nil {
			return fmt.Errorf("find the address that reaches node %q: %w", node, err)
		}
		host, _, err := net.SplitHostPort(probe.LocalAddr().String())
		_ = probe.Close()
		if err != nil {
			return fmt.Errorf("find the address that reaches node %q: %w", node, err)
		}
		bind = net.JoinHostPort(host, "0")
	}
	var err error
	if mc.BindAddr, mc.BindPort, err = split("gossip address", bind); err != nil {
		return err
	}
	mc.AdvertisePort = mc.BindPort
	if cfg.Advertise != "" {
		mc.AdvertiseAddr, mc.AdvertisePort, err = split("advertised gossip address", cfg.Advertise)
	}
	return err
}

func split(what, addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: must be host:port: %w", what, addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: the port must be a number from 0 to 65535", what, addr)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, int(port), nil
}

// join joins the nodes unless one that lives is known.
func (g *gossip) join(list []*limpetv1.MemberNode) error {
	known := map[string]bool{}
	for _, m := range g.list.Members() {
		known[m.Address()] = true
	}
	var seeds []string
	for _, n := range list {
		if known[n.GetGossip()] {
			return nil
		}
		if n.GetGossip() != "" && n.GetAlive() {
			seeds = append(seeds, n.GetGossip())
		}
	}
	if len(seeds) == 0 {
		return nil
	}
	if _, err := g.list.Join(seeds); err != nil {
		return fmt.Errorf("join gossip at %v: %w", seeds, err)
	}
	return nil
}

// setKeys follows a change of the cluster's keys.
func (g *gossip) setKeys(keys [][]byte) error {
	if g.keyring == nil || len(keys) == 0 || slices.EqualFunc(keys, g.keys, bytes.Equal) {
		return nil
	}
	var errs []error
	for _, k := range keys {
		errs = append(errs, g.keyring.AddKey(k))
	}
	errs = append(errs, g.keyring.UseKey(keys[0]))
	for _, k := range g.keys {
		if !slices.ContainsFunc(keys, func(n []byte) bool { return bytes.Equal(n, k) }) {
			errs = append(errs, g.keyring.RemoveKey(k))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("change the gossip keys: %w", err)
	}
	g.keys = keys
	return nil
}

// leave says goodbye: it publishes that it means to, since members cannot tell a
// goodbye from a death otherwise.
func (g *gossip) leave(ctx context.Context) error {
	g.leaving.Store(true)
	left := time.Second
	if end, ok := ctx.Deadline(); ok {
		left = min(left, max(time.Until(end)/2, time.Millisecond))
	}
	return errors.Join(g.list.UpdateNode(left), g.list.Leave(left), g.list.Shutdown())
}

func (g *gossip) close() { _ = g.list.Shutdown() }

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	meta := proto.CloneOf(g.meta)
	meta.Leaving = g.leaving.Load()
	b, err := proto.Marshal(meta)
	if err != nil {
		return nil
	}
	return b
}

// NotifyMsg implements memberlist.Delegate; members send no messages this way.
func (*gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (*gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (*gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (*gossip) MergeRemoteState([]byte, bool) {}

// slogWriter hands the library's lines on; none of them is for users.
type slogWriter struct{ log *slog.Logger }

// Write implements io.Writer.
func (w slogWriter) Write(line []byte) (int, error) {
	w.log.Debug("gossip: " + string(bytes.TrimSpace(line)))
	return len(line), nil
}
