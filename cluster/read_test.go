package cluster

import (
	"context"
	"testing"
	"time"
)

// Raft does not answer a question for its leadership that meets its shutdown. A node
// that waited for the answer could not be closed.
func TestAReadEndsWhenRaftIsShutDown(t *testing.T) {
	b := newBed(t, 1, nil)
	b.start("node-1")
	b.awaitReady()
	n := b.leader()
	r := n.current.Load()
	if err := n.raft.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	// The reign is over. A read that began before knows only it.
	for n.current.Load() != nil {
		time.Sleep(time.Millisecond)
	}
	n.current.Store(r)
	defer n.current.Store(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 { // by chance Raft refuses the question
			_, _ = n.localReadIndex(ctx)
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a read does not end")
	}
}
