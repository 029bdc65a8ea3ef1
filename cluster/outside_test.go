package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/awake"
)

func TestANodeOutsideTheConfigurationSaysSo(t *testing.T) {
	with := []raft.Server{{ID: "node-1"}, {ID: "node-2"}}
	for _, c := range []struct {
		name      string
		servers   []raft.Server
		dismissed bool
		out       bool
	}{
		{"no cluster yet", nil, false, false},
		{"a member", with, false, false},
		{"removed", with[1:], false, true},
		{"told, and without a leader since", with, true, true},
	} {
		if got := outside("node-1", c.servers, c.dismissed); (got != "") != c.out {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestALivingNodeIsRemovedByForceOnlyAndThenServesNoReads(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	leader, victim := b.leader(), b.follower()
	propose(t, victim, register(1))
	err := leader.RemoveNode(t.Context(), victim.Name(), false)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is alive: stop it first") {
		t.Fatalf("removed without force: %v", err)
	}
	if why := victim.Outside(); why != "" || len(leader.servers()) != 3 {
		t.Fatalf("after the refusal: %q, %d nodes", why, len(leader.servers()))
	}
	if err := leader.RemoveNode(t.Context(), victim.Name(), true); err != nil {
		t.Fatal(err)
	}
	b.await(10*time.Second, func() error {
		ok, why := victim.Ready()
		if ok || victim.Outside() == "" || !strings.Contains(why, "is not in the cluster") {
			return fmt.Errorf("the removed node is ready: %v, %q", ok, why)
		}
		return nil
	})
	if why := leader.Outside(); why != "" {
		t.Errorf("the leader: %q", why)
	}
}

// The leader lost its office between the word to the node and the removal; the
// node said ever after that it was removed, whenever it had no leader.
func TestANodeThatWasNotRemovedAfterAllStays(t *testing.T) {
	with := []raft.Server{{ID: "node-1"}, {ID: "node-2"}}
	c := contact{opened: time.Now()}
	now := c.opened.Add(time.Minute)
	c.note(now)
	var r retirement
	if r.fails(&c, "node-1", with) {
		t.Error("a removal of which nobody spoke fails")
	}
	r.begin(&c, now)
	c.note(now.Add(awake.Stall))
	c.note(now.Add(awake.Stall + retireGrace)) // a stretch without a leader
	if r.fails(&c, "node-1", with) {
		t.Error("a removal fails without a leader")
	}
	for at := time.Duration(0); at <= retireGrace; at += awake.Stall {
		c.note(now.Add(awake.Stall + retireGrace + at))
	}
	if r.fails(&c, "node-1", with[1:]) {
		t.Error("a removal fails although the node is not listed")
	}
	if !r.fails(&c, "node-1", with) || r.told.Load() != nil {
		t.Error("a removal does not fail although the node is listed under a leader")
	}
}

func TestTheOthersHearOfANodeThatWasNotRemoved(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	leader, spared := b.leader(), b.follower()
	leaving := func(want bool) {
		t.Helper()
		b.await(20*time.Second, func() error {
			if m, ok := leader.gossip.table.get(string(spared.Name())); !ok || m.meta.GetLeaving() != want {
				return fmt.Errorf("gossip says leaving: %v, want %v", m.meta.GetLeaving(), want)
			}
			return nil
		})
	}
	if err := spared.localMembership(t.Context(), &limpetv1.MembershipRequest{Action: limpetv1.MembershipRequest_RETIRE}); err != nil {
		t.Fatal(err)
	}
	leaving(true)
	spared.retiring.begin(&spared.contact, spared.awake.Now().Add(-retireGrace)) // the time passes
	leaving(false)
}

// Nobody told a node that was out already that it was: it waited for a leader, and
// was added back.
func TestANodeThatIsOutLeavesNevertheless(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start(b.names...)
	b.awaitReady()
	leader, out := b.leader(), b.follower()
	if err := leader.RemoveNode(t.Context(), out.Name(), true); err != nil {
		t.Fatal(err)
	}
	b.await(10*time.Second, func() error {
		if out.Outside() == "" || out.leaderConn(t.Context()) != nil {
			return errors.New("it is in the cluster")
		}
		return nil
	})
	delete(b.nodes, string(out.Name()))
	if err := out.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	b.await(10*time.Second, func() error {
		if m, ok := leader.gossip.table.get(string(out.Name())); ok && m.state == memberAlive {
			return errors.New("gossip has it as alive")
		}
		return nil
	})
}
