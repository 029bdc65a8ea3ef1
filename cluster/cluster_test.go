package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func TestThreeNodesFormAClusterAndAnswerOnEach(t *testing.T) {
	sinks := map[string]*fakeSink{}
	b := newBed(t, 3, func(c *Config) {
		sinks[c.Name] = &fakeSink{}
		c.Sink = sinks[c.Name]
	})
	b.start(b.names...)
	b.awaitReady()
	for i, name := range b.names {
		r := propose(t, b.nodes[name], register(i))
		if r.Refusal != nil {
			t.Fatalf("refused at %s: %v", name, r.Refusal)
		}
		if got, ok := b.nodes[name].View().Worker(workerID(i)); !ok || got.ID != workerID(i) {
			t.Errorf("%s answered before it had applied", name)
		}
	}
	for _, name := range b.names {
		if err := b.nodes[name].Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := workers(b.nodes[name]); got != 3 {
			t.Errorf("%s has %d workers after a barrier, want 3", name, got)
		}
	}
	b.awaitEqual(3)
	leader := b.leader()
	for _, s := range leader.otherServers() { // by their answers over Raft's pipeline
		b.await(5*time.Second, func() error {
			last := leader.raft.LastIndex()
			if leader.holds.lacks(s.ID, last) || !leader.holds.lacks(s.ID, last+1) {
				return fmt.Errorf("the leader does not know that %s has entry %d and no more", s.ID, last)
			}
			return nil
		})
	}
	s := b.status()
	if s.ClusterID != "cluster-under-test" || string(s.Leader) != string(b.leader().Name()) {
		t.Errorf("cluster %q, leader %q", s.ClusterID, s.Leader)
	}
	for _, n := range s.Nodes {
		if !n.Voter || n.Gossip != "alive" || n.Version != "test" || n.StateHash == "" || n.PeerAddr != b.peer[string(n.Name)] {
			t.Errorf("status of %s: %+v", n.Name, n)
		}
	}
	b.await(5*time.Second, func() error {
		for name, sink := range sinks {
			if woken, _ := sink.counts(); woken == 0 {
				return fmt.Errorf("the sink of %s was not woken", name)
			}
		}
		return nil
	})
}

func TestProposalsOutliveTheLeaderAndApplyOnce(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	leader, follower := b.leader(), b.follower()
	before := follower.View().Seq()
	const callers, each = 8, 25
	var all sync.WaitGroup
	errs := make(chan error, callers*each)
	for c := range callers {
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				r, err := follower.Propose(ctx, register(c*each+i))
				cancel()
				if err == nil && r.Refusal != nil {
					err = r.Refusal
				}
				errs <- err
			}
		})
	}
	b.kill(string(leader.Name()))
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := workers(follower); got != callers*each {
		t.Errorf("%d workers, want %d", got, callers*each)
	}
	if err := follower.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seq := follower.View().Seq(); seq < before+callers*each {
		t.Errorf("seq went from %d to %d with %d commands", before, seq, callers*each)
	}
	b.awaitEqual(2)
	b.start(string(leader.Name()))
	b.awaitReady()
	b.awaitEqual(3)
}

func TestARestartOfAllNodesKeepsTheState(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	for i := range 20 {
		propose(t, b.nodes[b.names[i%3]], register(i))
	}
	incarnation := b.nodes["node-1"].Incarnation()
	for _, name := range b.names {
		n := b.nodes[name]
		delete(b.nodes, name)
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.start(b.names...)
	b.awaitReady()
	for _, n := range b.nodes {
		if err := n.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := workers(n); got != 20 {
			t.Errorf("%s has %d workers, want 20", n.Name(), got)
		}
	}
	if got := b.nodes["node-1"].Incarnation(); got == incarnation || len(got) != 8 {
		t.Errorf("incarnation %q after %q", got, incarnation)
	}
	b.awaitEqual(3)
}

func TestAFarBehindNodeGetsASnapshot(t *testing.T) {
	sink := &fakeSink{}
	b := newBed(t, 3, func(c *Config) {
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval, c.Raft.TrailingLogs = 64, 100*time.Millisecond, 64
		if c.Name == "node-3" {
			c.Sink = sink
		}
	})
	b.start(b.names...)
	b.awaitReady()
	b.kill("node-3")
	leader := b.leader()
	for i := range 300 { // one by one, so that each is an entry
		propose(t, leader, register(i))
	}
	b.await(10*time.Second, func() error {
		if first, err := leader.storage.logs.FirstIndex(); err != nil || first < 100 {
			return fmt.Errorf("the log still begins at %d: %w", first, err)
		}
		return nil
	})
	_, before := sink.counts()
	b.start("node-3")
	b.awaitReady()
	b.awaitEqual(3)
	if got := workers(b.nodes["node-3"]); got != 300 {
		t.Errorf("node-3 has %d workers, want 300", got)
	}
	b.await(5*time.Second, func() error {
		if _, resets := sink.counts(); resets == before {
			return errors.New("the sink was not reset")
		}
		return nil
	})
	propose(t, b.nodes["node-3"], register(300))
}

func TestWithoutQuorumCallsWaitAndThenSayUnavailable(t *testing.T) {
	isolated := make(chan bool, 8)
	b := newBed(t, 3, func(c *Config) {
		c.OnIsolated = func(on bool) {
			if c.Name == "node-1" {
				isolated <- on
			}
		}
	})
	b.start(b.names...)
	b.awaitReady()
	b.kill("node-2")
	b.kill("node-3")
	n := b.nodes["node-1"]
	if !<-isolated {
		t.Fatal("told of contact before isolation")
	}
	if ok, why := n.Ready(); ok || why == "" {
		t.Errorf("ready %v, %q", ok, why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cmd := register(1)
	if _, err := n.Propose(ctx, cmd); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("propose: %v", err)
	}
	if err := n.Barrier(ctx); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("barrier: %v", err)
	}
	n.Vouch(workerID(1)) // needs nobody
	held := make(chan error, 1)
	go func() {
		_, err := n.Propose(t.Context(), cmd)
		held <- err
	}()
	b.start("node-2")
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if <-isolated {
		t.Error("isolated twice")
	}
	if got := workers(n); got != 1 {
		t.Errorf("%d workers, want 1", got)
	}
}

func TestRemoveNodeKeepsALiveQuorum(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	leader := b.leader()
	var others []string
	for _, name := range b.names {
		if name != string(leader.Name()) {
			others = append(others, name)
		}
	}
	for _, asked := range []*Node{leader, b.nodes[others[0]]} {
		if err := asked.RemoveNode(t.Context(), "stranger", false); !errors.Is(err, ErrNoNode) {
			t.Errorf("%s removes a stranger: %v", asked.Name(), err)
		}
	}
	b.kill(others[0])
	// Gossip believes for a while that it lives: a removal now would cost the quorum.
	if err := leader.RemoveNode(t.Context(), fsm.NodeID(others[1]), true); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), others[0]) {
		t.Fatalf("remove a living node just after another died: %v", err)
	}
	b.await(10*time.Second, func() error {
		if m, _ := leader.gossip.table.get(others[0]); m.state != memberDead {
			return fmt.Errorf("%s is %s in gossip", others[0], m.state)
		}
		return nil
	})
	err := b.nodes[others[1]].RemoveNode(t.Context(), fsm.NodeID(others[1]), true)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), others[0]) {
		t.Errorf("remove a living node beside a dead one: %v", err)
	}
	if err := b.nodes[others[1]].RemoveNode(t.Context(), fsm.NodeID(others[0]), false); err != nil {
		t.Errorf("remove the dead node: %v", err)
	}
	if got := len(leader.servers()); got != 2 {
		t.Errorf("%d nodes in the configuration, want 2", got)
	}
	propose(t, b.nodes[others[1]], register(1))
}

func TestANodeLeavesAndAnotherJoins(t *testing.T) {
	b := newBed(t, 4, func(c *Config) {
		if c.BootstrapExpect = 3; c.Name == "node-4" {
			c.BootstrapExpect = 0
		}
	})
	b.start(b.names[:3]...)
	b.awaitReady()
	propose(t, b.nodes["node-1"], register(1))
	b.start("node-4")
	b.awaitReady()
	leaving := b.leader()
	if err := leaving.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	delete(b.nodes, string(leaving.Name()))
	propose(t, b.nodes["node-4"], register(2))
	b.await(10*time.Second, func() error {
		if got := len(b.leader().servers()); got != 3 {
			return fmt.Errorf("%d nodes in the configuration, want 3", got)
		}
		return nil
	})
	if got := workers(b.nodes["node-4"]); got != 2 {
		t.Errorf("%d workers, want 2", got)
	}
	if _, err := leaving.Propose(t.Context(), register(3)); !errors.Is(err, ErrClosed) {
		t.Errorf("propose at a node that has left: %v", err)
	}
}

func TestLeadershipIsHandedOver(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	old := b.leader()
	if err := b.follower().TransferLeadership(t.Context()); err != nil {
		t.Fatal(err)
	}
	propose(t, old, register(1))
	if now := b.leader(); now == old {
		t.Errorf("%s still leads", old.Name())
	}
}

func TestADeadNodesSessionsBecomeSuspectAndSoDoThoseOfAnEarlierLife(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	victim, other := b.follower(), b.leader()
	name := string(victim.Name())
	propose(t, victim, register(1))
	attach := func(n *Node, number int) {
		propose(t, n, register(number))
		propose(t, n, &limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{
			WorkerId: string(workerID(number)), Node: string(n.Name()), Session: n.Incarnation() + "-" + strconv.Itoa(number),
		}}})
	}
	lease := func(n *Node, number int) fsm.Lease {
		w, ok := n.View().Worker(workerID(number))
		if !ok {
			t.Fatalf("no worker %d at %s", number, n.Name())
		}
		return w.Lease
	}
	suspect := func(n *Node, number int, reason string) {
		t.Helper()
		b.await(15*time.Second, func() error {
			if l := lease(n, number); l.State != fsm.LeaseSuspect || l.Reason != reason {
				return fmt.Errorf("lease is %s, %q", l.State, l.Reason)
			}
			return nil
		})
	}
	attach(victim, 2)
	if l := lease(victim, 2); l.State != fsm.LeaseLive {
		t.Fatalf("lease is %s", l.State)
	}
	b.kill(name)
	suspect(other, 2, "node "+name+" is dead")

	b.start(name)
	b.awaitReady()
	attach(b.nodes[name], 3)
	b.kill(name)
	b.start(name) // before gossip has noticed
	b.await(15*time.Second, func() error {
		if l := lease(other, 3); l.State != fsm.LeaseSuspect || !strings.HasPrefix(l.Reason, "node "+name) {
			return fmt.Errorf("lease is %s, %q", l.State, l.Reason)
		}
		return nil
	})
}

func TestAWrongClusterKeyKeepsANodeOut(t *testing.T) {
	b := newBed(t, 2, func(c *Config) {
		if c.BootstrapExpect = 1; c.Name == "node-2" {
			c.BootstrapExpect, c.ClusterKey = 0, []byte("fedcba9876543210fedcba9876543210")
		}
	})
	b.start(b.names...)
	insider, outsider := b.nodes["node-1"], b.nodes["node-2"]
	b.leader()
	_, err := outsider.peers.conn(t.Context(), b.peer["node-1"])
	if !errors.Is(err, errWrongKey) {
		t.Errorf("peer connection with another key: %v", err)
	}
	if _, err := outsider.gossip.list.Join([]string{b.goss["node-1"]}); err == nil {
		t.Error("gossip let a node with another key in")
	}
	if got := len(insider.gossip.table.alive()); got != 1 {
		t.Errorf("%d members, want 1", got)
	}
}

func TestDifferentExpectationsFormNoCluster(t *testing.T) {
	b := newBed(t, 3, func(c *Config) {
		if c.Name == "node-3" {
			c.BootstrapExpect = 2
		}
	})
	b.start(b.names...)
	b.await(10*time.Second, func() error {
		for _, n := range b.nodes {
			if ok, why := n.Ready(); ok || !strings.HasPrefix(why, expectDiffers) {
				return fmt.Errorf("%s: ready %v, %q", n.Name(), ok, why)
			}
		}
		return nil
	})
	for _, n := range b.nodes {
		if n.hasState() {
			t.Errorf("%s has state", n.Name())
		}
	}
}

func TestADevNodeNeedsNoDiskNoKeyAndNoFixedPorts(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name, cfg.Dev, cfg.BootstrapExpect, cfg.BootstrapCommand = "dev", true, 1, bootstrap
	cfg.PeerListen, cfg.GossipListen = "127.0.0.1:0", "localhost:0"
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	propose(t, n, register(1))
	if err := n.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.TransferLeadership(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("handed over to nobody: %v", err)
	}
	if _, port, err := net.SplitHostPort(n.GossipAddr()); err != nil || port == "0" {
		t.Errorf("gossip address %q", n.GossipAddr())
	}
	for range 2 {
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if ok, why := n.Ready(); ok {
		t.Errorf("ready after Close: %q", why)
	}
}

func TestADirectoryServesOneProcessAndOneNode(t *testing.T) {
	b := newBed(t, 1, nil)
	b.start("node-1")
	b.awaitReady()
	second := b.config("node-1")
	second.PeerListen, second.GossipListen = freeAddr(t), freeAddr(t)
	if n, err := Open(t.Context(), second); err == nil || !strings.Contains(err.Error(), "another limpet") {
		t.Errorf("opened twice: %v, %v", n, err)
	}
	b.kill("node-1")
	second.Name = "node-9"
	if n, err := Open(t.Context(), second); err == nil || !strings.Contains(err.Error(), `belongs to node "node-1"`) {
		t.Errorf("opened under another name: %v, %v", n, err)
	}
}

func TestLeadersComeAndGoUnderLoad(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	var next, failed atomic.Int64
	for _, name := range b.names {
		n := b.nodes[name]
		for range 4 {
			all.Go(func() {
				for ctx.Err() == nil {
					call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
					number := int(next.Add(1))
					r, err := n.Propose(call, register(number))
					cancel()
					if _, ok := n.View().Worker(workerID(number)); err != nil || r.Refusal != nil || !ok {
						failed.Add(1)
						t.Errorf("at %s: %v, %v, applied %v", n.Name(), err, r.Refusal, ok)
						return
					}
				}
			})
		}
	}
	for range 5 {
		leader := b.leader()
		if err := leader.TransferLeadership(t.Context()); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Log(err)
		}
		b.await(10*time.Second, func() error {
			if leader.current.Load() != nil {
				return errors.New("the leader stays")
			}
			return nil
		})
	}
	stop()
	all.Wait()
	b.awaitEqual(3)
	if got := workers(b.nodes["node-1"]); failed.Load() == 0 && got != int(next.Load()) {
		t.Errorf("%d workers of %d", got, next.Load())
	}
}
