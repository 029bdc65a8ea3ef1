package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const (
	formationTick = 200 * time.Millisecond
	// promiseFor is how long a node keeps a promise. The node that gathers
	// promises acts on them within promiseRound, or starts again.
	promiseFor   = 10 * time.Second
	promiseRound = time.Second

	expectDiffers = "bootstrap_expect differs"
)

// formation is the making of a new cluster. When as many nodes as expected are
// alive, each without state, the first of them by name asks the others to
// promise that they form a cluster of exactly these nodes or none; with all
// promises it writes the first configuration, which the others then get by
// replication. A node is never in two promises at a time, so that nodes that see
// different members cannot form two clusters.
type formation struct {
	name   string
	expect int
	table  *memberTable
	log    hclog.Logger
	// hasState says whether this node has Raft state.
	hasState func() bool

	mu       sync.Mutex
	promised []string // sorted names
	until    time.Time
	status   string // what it waits for, in words
}

// candidates gives the sorted names of the nodes that are to form the cluster,
// or says why it cannot be formed now.
func (f *formation) candidates() (names []string, why string) {
	if f.expect == 0 {
		return nil, "waiting to be added by the leader of a cluster to join"
	}
	for _, m := range f.table.alive() {
		switch {
		case m.meta.GetLeaving():
			continue
		case m.meta.GetHasState() && m.name != f.name:
			return nil, fmt.Sprintf("node %q already belongs to a cluster: waiting to be added by its leader", m.name)
		case m.meta.GetBootstrapExpect() == 0:
			continue // joins later
		case int(m.meta.GetBootstrapExpect()) != f.expect:
			return nil, fmt.Sprintf(expectDiffers+": %d here and %d at node %q; set the same on all nodes and restart", f.expect, m.meta.GetBootstrapExpect(), m.name)
		}
		names = append(names, m.name)
	}
	if len(names) < f.expect {
		return nil, fmt.Sprintf("%d of %d nodes are there: %s", len(names), f.expect, strings.Join(names, ", "))
	}
	slices.Sort(names)
	return names[:f.expect], ""
}

// promise answers another node's request.
func (f *formation) promise(r *limpetv1.BootstrapRequest) *limpetv1.BootstrapAnswer {
	no := func(reason string) *limpetv1.BootstrapAnswer { return &limpetv1.BootstrapAnswer{Reason: reason} }
	if f.hasState() {
		return no(fmt.Sprintf("node %q already has state", f.name))
	}
	mine, why := f.candidates()
	if why != "" {
		return no(fmt.Sprintf("node %q: %s", f.name, why))
	}
	if !slices.Equal(mine, r.GetNames()) {
		return no(fmt.Sprintf("node %q sees other nodes: %s", f.name, strings.Join(mine, ", ")))
	}
	if !f.bind(mine) {
		return no(fmt.Sprintf("node %q has promised itself to another cluster", f.name))
	}
	return &limpetv1.BootstrapAnswer{Promised: true}
}

// bind makes the promise, unless another one holds.
func (f *formation) bind(names []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.promised != nil && now.Before(f.until) && !slices.Equal(f.promised, names) {
		return false
	}
	f.promised, f.until = names, now.Add(promiseFor)
	return true
}

// say notes what the formation waits for, and logs it when it is new.
func (f *formation) say(status string) {
	f.mu.Lock()
	changed := f.status != status
	f.status = status
	f.mu.Unlock()
	switch {
	case !changed || status == "":
	case strings.HasPrefix(status, expectDiffers):
		f.log.Error("no cluster: " + status)
	default:
		f.log.Info("no cluster yet: " + status)
	}
}

// waitsFor says why there is no cluster yet; empty when there is one.
func (f *formation) waitsFor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// form works until this node has Raft state, its own or received, or ctx ends.
func (n *Node) form(ctx context.Context) {
	tick := time.NewTicker(formationTick)
	defer tick.Stop()
	for !n.hasState() {
		n.formation.say(n.tryForm(ctx))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	n.formation.say("")
	n.gossip.publish(func(m *limpetv1.GossipMeta) { m.HasState = true })
}

// tryForm makes one attempt and says why it came to nothing.
func (n *Node) tryForm(ctx context.Context) string {
	names, why := n.formation.candidates()
	if why != "" {
		return why
	}
	if !slices.Contains(names, n.cfg.Name) {
		return "waiting to be added by the leader of " + strings.Join(names, ", ")
	}
	if names[0] != n.cfg.Name {
		return fmt.Sprintf("node %q is about to form the cluster", names[0])
	}
	if !n.formation.bind(names) {
		return "a promise to other nodes has to lapse first"
	}
	ctx, cancel := context.WithTimeout(ctx, promiseRound)
	defer cancel()
	var first raft.Configuration
	for _, name := range names {
		m, ok := n.gossip.table.get(name)
		if !ok {
			return fmt.Sprintf("node %q is gone", name)
		}
		if name != n.cfg.Name {
			if why := n.askPromise(ctx, m, names); why != "" {
				return why
			}
		}
		first.Servers = append(first.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(name), Address: raft.ServerAddress(m.meta.GetPeerAddr()),
		})
	}
	if ctx.Err() != nil {
		return "the promises took too long"
	}
	if err := awaitFuture(ctx, n.raft.BootstrapCluster(first)); err != nil {
		return fmt.Sprintf("write the first configuration: %v", err)
	}
	n.log.Info("formed a new cluster", "nodes", names)
	return ""
}

func (n *Node) askPromise(ctx context.Context, m member, names []string) string {
	conn, err := n.peers.conn(ctx, m.meta.GetPeerAddr())
	if err != nil {
		return err.Error()
	}
	f, err := conn.call(ctx, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_BootstrapRequest{
		BootstrapRequest: &limpetv1.BootstrapRequest{Names: names, Expect: int32(n.cfg.BootstrapExpect)},
	}})
	switch {
	case err != nil:
		return fmt.Sprintf("ask node %q for its promise: %v", m.name, err)
	case !f.GetBootstrapAnswer().GetPromised():
		return f.GetBootstrapAnswer().GetReason()
	}
	return ""
}

// hasState says whether Raft has a configuration or a log.
func (n *Node) hasState() bool {
	if n.raft.LastIndex() > 0 {
		return true
	}
	return len(n.raft.GetConfiguration().Configuration().Servers) > 0
}
