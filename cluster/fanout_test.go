package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/limpet-dev/limpet/fsm"
)

// noted is a sink that keeps what it is told.
type noted struct {
	calls  [][]fsm.Effect
	resets int
}

func (n *noted) Wake(effects []fsm.Effect) { n.calls = append(n.calls, slices.Clone(effects)) }
func (n *noted) Reset()                    { n.resets++ }

// What a sink that keeps up is told is what was applied; what one that does not has
// missed is merged, and the effects that were passed in stay as they were.
func TestWhatASinkHasNotTakenIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &noted{}
		f := newFanout(sink)
		effect := func(id string) fsm.Effect { return fsm.Effect{Kind: fsm.RunChanged, ID: id} }
		first := append(make([]fsm.Effect, 0, 8), effect("x"), effect("y"))
		spare := first[:3]
		f.push(first)
		f.push([]fsm.Effect{effect("y"), effect("z"), effect("z")})
		f.push([]fsm.Effect{effect("x"), effect("a")})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.run(ctx)
		synctest.Wait()
		f.push([]fsm.Effect{effect("x")})
		synctest.Wait()
		want := [][]fsm.Effect{{effect("x"), effect("y"), effect("z"), effect("a")}, {effect("x")}}
		if !slices.EqualFunc(sink.calls, want, slices.Equal) || sink.resets != 0 {
			t.Errorf("told %v and %d resets, want %v", sink.calls, sink.resets, want)
		}
		if spare[2] != (fsm.Effect{}) {
			t.Errorf("the sink's queue was written behind the effects of an entry: %v", spare)
		}
	})
}

func TestAResetCoversWhatWasQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &noted{}
		f := newFanout(sink)
		effect := fsm.Effect{Kind: fsm.RunChanged, ID: "x"}
		f.push([]fsm.Effect{effect})
		f.pushReset()
		f.push([]fsm.Effect{{Kind: fsm.Reset}, effect})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.run(ctx)
		synctest.Wait()
		if sink.resets != 1 || len(sink.calls) != 1 || !slices.Equal(sink.calls[0], []fsm.Effect{effect}) {
			t.Errorf("told %v and %d resets, want %v after one reset", sink.calls, sink.resets, effect)
		}
	})
}
