package cluster

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// fakeWorker is the gossip member of a worker's process.
type fakeWorker struct{ leaving *atomic.Bool }

// NodeMeta implements memberlist.Delegate.
func (f fakeWorker) NodeMeta(int) []byte {
	b, _ := proto.Marshal(&limpetv1.GossipMeta{Role: roleWorker, Format: 1, Version: "test", Leaving: f.leaving.Load()})
	return b
}

// NotifyMsg implements memberlist.Delegate.
func (fakeWorker) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (fakeWorker) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (fakeWorker) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (fakeWorker) MergeRemoteState([]byte, bool) {}

func joinWorker(tb testing.TB, name string, info GossipInfo, leaving *atomic.Bool) *memberlist.Memberlist {
	tb.Helper()
	mc := memberlist.DefaultLANConfig()
	mc.Name, mc.BindAddr, mc.BindPort, mc.Label = name, "127.0.0.1", 0, info.Label
	mc.Delegate, mc.LogOutput = fakeWorker{leaving}, nopWriter{}
	ring, err := memberlist.NewKeyring(info.Keys, info.Keys[0])
	if err != nil {
		tb.Fatal(err)
	}
	mc.Keyring = ring
	list, err := memberlist.Create(mc)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = list.Shutdown() })
	for _, n := range info.Nodes {
		if _, err := list.Join([]string{n.Gossip}); err != nil {
			tb.Fatal(err)
		}
	}
	return list
}

type nopWriter struct{}

// Write implements io.Writer.
func (nopWriter) Write(b []byte) (int, error) { return len(b), nil }

// gossipingWorker registers and attaches worker 1 with a gossip member, and
// waits until all nodes have reached that.
func gossipingWorker(t *testing.T, b *bed, at *Node, leaving ...*atomic.Bool) *memberlist.Memberlist {
	t.Helper()
	list := joinWorker(t, "worker-one", at.GossipInfo(), append(leaving, new(atomic.Bool))[0])
	cmd := register(1)
	cmd.GetRegisterWorker().Member = "worker-one"
	propose(t, at, cmd)
	propose(t, at, attachSession(at))
	b.await(20*time.Second, func() error {
		for name, n := range b.nodes {
			if m, ok := n.gossip.table.workers.get("worker-one"); !ok || !m.reached {
				return fmt.Errorf("%s has not reached the worker", name)
			}
		}
		return nil
	})
	return list
}

func attachSession(at *Node) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{
		WorkerId: string(workerID(1)), Node: string(at.Name()), Session: at.Incarnation() + "-1",
	}}}
}

func breakStream(at *Node) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_DetachSession{DetachSession: &limpetv1.DetachSession{
		WorkerId: string(workerID(1)), Session: at.Incarnation() + "-1", Reason: "its stream broke",
	}}}
}

// awaitLoss waits for the loss of worker 1 and gives its reason.
func awaitLoss(b *bed, at *Node) string {
	b.t.Helper()
	var reason string
	b.await(30*time.Second, func() error {
		w, _ := at.View().Worker(workerID(1))
		if w.Lease.State != fsm.LeaseLost {
			return fmt.Errorf("the lease is %s", w.Lease.State)
		}
		reason = w.Lease.Reason
		return nil
	})
	return reason
}

// A long grace: what is lost in these tests is lost by evidence.
func patient(c *Config) { c.Lease = LeaseConfig{TTL: time.Hour, Grace: time.Hour} }

func TestAWorkerThatNoNodeReachesIsLostAtOnce(t *testing.T) {
	b := newBed(t, 3, patient)
	b.start(b.names...)
	b.awaitReady()
	at := b.follower()
	list := gossipingWorker(t, b, at)
	if err := list.Shutdown(); err != nil { // as a killed process does: without a word
		t.Fatal(err)
	}
	propose(t, at, breakStream(at))
	if reason := awaitLoss(b, at); !strings.Contains(reason, "does not answer any of 3 nodes") {
		t.Errorf("it was lost because %q", reason)
	}
}

func TestAWorkerThatSaidGoodbyeIsLostAtOnce(t *testing.T) {
	b := newBed(t, 3, patient)
	b.start(b.names...)
	b.awaitReady()
	at := b.follower()
	var leaving atomic.Bool
	list := gossipingWorker(t, b, at, &leaving)
	leaving.Store(true)
	if err := list.UpdateNode(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := list.Leave(time.Second); err != nil {
		t.Fatal(err)
	}
	b.await(20*time.Second, func() error {
		if m, _ := b.leader().gossip.table.workers.get("worker-one"); m.state == memberAlive {
			return fmt.Errorf("the leader's gossip says %s", m.state)
		}
		return nil
	})
	propose(t, at, breakStream(at))
	if reason := awaitLoss(b, at); !strings.Contains(reason, "goodbye") && !strings.Contains(reason, "does not answer") {
		t.Errorf("it was lost because %q", reason)
	}
}

func TestAWorkerWhoseProcessAnswersKeepsItsLease(t *testing.T) {
	b := newBed(t, 3, patient)
	b.start(b.names...)
	b.awaitReady()
	at := b.follower()
	gossipingWorker(t, b, at)
	propose(t, at, breakStream(at))
	leader := b.leader()
	b.await(20*time.Second, func() error { // until it was asked after, with the answer that it lives
		r := leader.current.Load()
		if r == nil {
			return fmt.Errorf("%s leads no more", leader.Name())
		}
		if v, _ := leader.inquire(t.Context(), r.liveness, "worker-one"); v != verdictAlive {
			return fmt.Errorf("the verdict is %d", v)
		}
		return nil
	})
	if w, _ := at.View().Worker(workerID(1)); w.Lease.State != fsm.LeaseSuspect {
		t.Errorf("the lease is %s: %s", w.Lease.State, w.Lease.Reason)
	}
}

func TestAWorkerAndTheLeaderDieTogether(t *testing.T) {
	b := newBed(t, 3, patient)
	b.start(b.names...)
	b.awaitReady()
	at := b.leader()
	list := gossipingWorker(t, b, at)
	if err := list.Shutdown(); err != nil {
		t.Fatal(err)
	}
	b.kill(string(at.Name()))
	if reason := awaitLoss(b, b.follower()); !strings.Contains(reason, "does not answer any of 2 nodes") {
		t.Errorf("it was lost because %q", reason)
	}
}

func TestNoVerdictWithoutAMajority(t *testing.T) {
	b := newBed(t, 3, patient)
	b.start(b.names...)
	b.awaitReady()
	leader := b.leader()
	list := gossipingWorker(t, b, leader)
	if err := list.Shutdown(); err != nil {
		t.Fatal(err)
	}
	for _, name := range b.names {
		if b.nodes[name] != leader {
			b.kill(name)
		}
	}
	l := newLiveness(leader.cfg.Lease, leader.awake.Now())
	if v, words := leader.inquire(t.Context(), l, "worker-one"); v != verdictNone {
		t.Errorf("a node alone judges %d: %s", v, words)
	}
}

func TestKeysChangeWhileTheClusterRuns(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	old, next := testKey, []byte("fedcba9876543210fedcba9876543210")
	number := 10
	step := func(primary []byte, others ...[]byte) {
		t.Helper()
		for _, name := range b.names {
			if err := b.nodes[name].SetKeys(primary, others); err != nil {
				t.Fatal(err)
			}
			number++
			propose(t, b.nodes[name], register(number))
		}
	}
	step(old, next)
	step(next, old)
	// A node that starts with the new key gets in, and gets through.
	last := b.names[2]
	b.kill(last)
	b.tweak = func(c *Config) { c.ClusterKey, c.OldKeys = next, nil }
	b.start(last)
	b.awaitReady()
	b.names = b.names[:2]
	step(next)
	b.names = append(b.names, last)
	number++
	propose(t, b.nodes[last], register(number))
	b.awaitEqual(3)
	if err := b.nodes[last].SetKeys([]byte("short"), nil); err == nil || !strings.Contains(err.Error(), "16, 24 or 32 bytes") {
		t.Errorf("a short key was taken: %v", err)
	}
	if got := b.nodes[last].GossipInfo().Keys; len(got) != 1 || string(got[0]) == string(next) {
		t.Errorf("workers get the keys %x", got)
	}
}
