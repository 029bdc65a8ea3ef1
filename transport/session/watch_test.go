package session

import (
	"strconv"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// TestAFollowerThatDoesNotReadIsBounded wakes a follower, and a watcher of one
// run, that never ask what has changed.
func TestAFollowerThatDoesNotReadIsBounded(t *testing.T) {
	h := NewHub(Config{Counters: transport.NewCounters(), Logger: hclog.NewNullLogger()})
	follower, watcher := h.Follow(), h.Watch()
	defer follower.Close()
	defer watcher.Close()
	watcher.Add("0")
	for i := range maxBehind + 1000 {
		h.Wake([]fsm.Effect{{Kind: fsm.RunFinished, ID: strconv.Itoa(i)}, {Kind: fsm.RunFinished, ID: "0"}})
	}
	if !follower.Behind() {
		t.Error("a follower that lost changes does not know it")
	}
	if n := len(follower.Changed()); n != maxBehind {
		t.Errorf("%d changes are kept for a follower that does not read, want %d", n, maxBehind)
	}
	if got := watcher.Changed(); watcher.Behind() || len(got) != 1 || got[0] != "0" {
		t.Errorf("the watcher of one run is woken for %v", got)
	}
}
