package rpc_test

import (
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// TestASlowReaderSlowsNobody has a worker and a subscriber that do not read, with
// more for them than fits into what a connection holds; others on the same node
// go on.
func TestASlowReaderSlowsNobody(t *testing.T) {
	cluster := transporttest.New(t, transporttest.Config{})
	client, slow := cluster.Nodes[0].Client(t), cluster.Nodes[0].Client(t)
	client.Put(t, oneTask("slow"))
	client.Put(t, oneTask("fast"))
	large := `"` + strings.Repeat("x", 1<<20) + `"`

	stream := client.Listen(t, client.Register(t, worker("fast:fast")))
	var early []fsm.RunID
	for range 8 { // results for the subscriber that does not read
		run := client.Trigger(t, trigger("fast", `{}`))
		early = append(early, run)
		a := stream.Next(t)
		stream.Started(t, a)
		stream.Completed(t, a, large)
	}
	unread := subscribe(t, slow, early...)
	slow.Listen(t, slow.Register(t, worker("slow:slow")))
	for range 8 { // orders for the worker that does not read
		slow.Trigger(t, trigger("slow", large))
	}
	for range 50 {
		run := client.Trigger(t, trigger("fast", `{}`))
		results1 := subscribe(t, client, run)
		a := stream.Next(t)
		stream.Started(t, a)
		stream.Completed(t, a, `{}`)
		if got := results(results1.next()); got["fast"] != `{}` {
			t.Fatalf("the result is %v", got)
		}
	}
	for range early { // it was late, and has lost nothing
		if got := results(unread.next()); got["fast"] != large {
			t.Fatalf("a result that was read late has %d bytes", len(got["fast"]))
		}
	}
}
