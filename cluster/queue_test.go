package cluster

import (
	"testing"

	"pgregory.net/rapid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// A lane that keeps its memory gives what a list would, in its order, and holds on to
// no command that was taken.
func TestALaneIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lane
		var want []fsm.Command
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			for range rapid.IntRange(0, 9).Draw(t, "come") {
				c := &limpetv1.Command{}
				l.push(queued{cmd: c, size: 1})
				want = append(want, c)
			}
			var b batch
			l.pull(&b, rapid.IntRange(0, 12).Draw(t, "most"), rapid.IntRange(1, 12).Draw(t, "bytes"))
			for i, c := range b.cmds {
				if c != want[i] {
					t.Fatalf("the command at %d is not the one that came there", i)
				}
			}
			if want = want[len(b.cmds):]; l.len() != len(want) {
				t.Fatalf("%d wait, want %d", l.len(), len(want))
			}
			for i, x := range l.list[:cap(l.list)] {
				if x.cmd != nil && (i < l.taken || i >= len(l.list)) {
					t.Fatal("a command that was taken is still held")
				}
			}
		}
	})
}

// An entry of small commands costs the queue no memory of its own.
func TestAQueueKeepsItsMemory(t *testing.T) {
	q := newCommandQueue(1 << 10)
	offers := make([]offer, 64)
	for i := range offers {
		offers[i] = offer{cmd: &limpetv1.Command{RequestId: []byte{byte(i)}}, data: []byte{1}}
	}
	round := func() {
		q.put(offers)
		q.forget(q.take().cmds)
	}
	round()
	first := cap(q.first.list)
	for range 100 {
		round()
	}
	if got := cap(q.first.list); got != first || first == 0 {
		t.Errorf("the lane has room for %d, had for %d", got, first)
	}
}
