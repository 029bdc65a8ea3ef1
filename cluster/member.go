package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// The roles of gossip members.
const (
	roleNode   = "node"
	roleWorker = "worker" // an agent, or a worker of the Go SDK
)

// memberState is gossip's word on a node.
type memberState uint8

const (
	memberAlive memberState = iota
	memberDead
	memberLeft
)

// String gives alive, dead or left.
func (s memberState) String() string {
	switch s {
	case memberDead:
		return "dead"
	case memberLeft:
		return "left"
	case memberAlive:
	}
	return "alive"
}

// member is a node as gossip knows it.
type member struct {
	name  string
	state memberState
	addr  string // of gossip
	meta  *limpetv1.GossipMeta
}

// memberTable keeps what gossip said last of each node. Memberlist calls it with
// its own lock held, so it only takes notes; whoever is interested looks at the
// table when changed fires, or now and then.
type memberTable struct {
	changed chan struct{} // capacity 1
	workers *workerTable

	mu        sync.Mutex
	byName    map[string]member
	clusterID string
	conflict  func(text string)
}

func newMemberTable(conflict func(string)) *memberTable {
	return &memberTable{changed: make(chan struct{}, 1), workers: newWorkerTable(), byName: map[string]member{}, conflict: conflict}
}

// get gives one node.
func (t *memberTable) get(name string) (member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.byName[name]
	return m, ok
}

// all gives every node ever heard of, by name.
func (t *memberTable) all() []member {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]member, 0, len(t.byName))
	for _, m := range t.byName {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return list
}

// alive gives the nodes that gossip believes alive, by name.
func (t *memberTable) alive() []member {
	return slices.DeleteFunc(t.all(), func(m member) bool { return m.state != memberAlive })
}

func (t *memberTable) put(n *memberlist.Node, state memberState) {
	meta, err := decodeMeta(n.Meta)
	if err != nil {
		return
	}
	if meta.GetRole() == roleWorker {
		t.workers.put(n, state, time.Now())
	}
	if meta.GetRole() != roleNode {
		return
	}
	t.mu.Lock()
	t.byName[n.Name] = member{name: n.Name, state: state, addr: n.Address(), meta: meta}
	t.mu.Unlock()
	signal(t.changed)
}

// NotifyJoin implements memberlist.EventDelegate.
func (t *memberTable) NotifyJoin(n *memberlist.Node) { t.put(n, memberAlive) }

// NotifyUpdate implements memberlist.EventDelegate.
func (t *memberTable) NotifyUpdate(n *memberlist.Node) { t.put(n, memberAlive) }

// NotifyLeave implements memberlist.EventDelegate.
func (t *memberTable) NotifyLeave(n *memberlist.Node) {
	// The library does not tell here whether the member said goodbye; whoever
	// means to leave publishes it first.
	if meta, err := decodeMeta(n.Meta); err == nil && meta.GetLeaving() {
		t.put(n, memberLeft)
		return
	}
	t.put(n, memberDead)
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (t *memberTable) NotifyConflict(existing, other *memberlist.Node) {
	t.conflict(fmt.Sprintf("two nodes are called %q: %s and %s; give each its own name", existing.Name, existing.Address(), other.Address()))
}

// NotifyAlive implements memberlist.AliveDelegate: nodes of another cluster are
// not let in.
func (t *memberTable) NotifyAlive(n *memberlist.Node) error {
	meta, err := decodeMeta(n.Meta)
	if err != nil {
		return fmt.Errorf("meta of %q: %w", n.Name, err)
	}
	t.mu.Lock()
	mine := t.clusterID
	t.mu.Unlock()
	if theirs := meta.GetClusterId(); mine != "" && theirs != "" && mine != theirs {
		return fmt.Errorf("node %q at %s belongs to cluster %q, this one to %q: give it an empty data directory, or another gossip address to join",
			n.Name, n.Address(), theirs, mine)
	}
	return nil
}

// setCluster makes NotifyAlive refuse others; it reports whether that is new.
func (t *memberTable) setCluster(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == t.clusterID {
		return false
	}
	t.clusterID = id
	return true
}

func decodeMeta(b []byte) (*limpetv1.GossipMeta, error) {
	var meta limpetv1.GossipMeta
	if err := proto.Unmarshal(b, &meta); err != nil {
		return nil, fmt.Errorf("decode gossip meta: %w", err)
	}
	return &meta, nil
}
