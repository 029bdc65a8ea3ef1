package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestANodeThatIsAwayIsNamedOnceInAWhile(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Exclude: newSeldom(func() time.Time { return now }).exclude}).Named("raft")
	for range 600 { // a minute of two nodes that are away
		for _, peer := range []raft.ServerAddress{"10.0.0.2:7078", "10.0.0.3:7078"} {
			log.Error(missedHeartbeat, "peer", peer, "backoff time", time.Second, "error", "refused")
		}
		log.Error("failed to appendEntries to", "peer", "10.0.0.2:7078")
		now = now.Add(100 * time.Millisecond)
	}
	for text, want := range map[string]int{
		"heartbeat to: peer=10.0.0.2:7078": 2, "heartbeat to: peer=10.0.0.3:7078": 2, "failed to appendEntries to": 600,
	} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is in the log %d times, want %d", text, got, want)
		}
	}
}
