package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
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
