package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// A node that was away for longer than some seconds had nothing to say for up to ten
// more, as Raft waited that long before it called it again. Callers that knew its
// address first waited with it.
func TestANodeThatIsBackCatchesUpAtOnce(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 12 * time.Second, 50 * time.Second, 3 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(&Plan{Nodes: 3}, nil)
			defer w.bringDown()
			for _, name := range w.founders {
				w.revive(name)
			}
			if !w.form() {
				t.Fatal("no cluster")
			}
			gone := "n3"
			if w.leader() == gone {
				gone = "n2"
			}
			w.crash(gone, true)
			_ = pause(w.ctx, away)
			want := w.proc("n1").node.View().Seq()
			w.revive(gone)
			began := time.Now()
			for w.proc(gone).node.View().Seq() < want {
				_ = pause(w.ctx, 10*time.Millisecond)
				if time.Since(began) > time.Minute {
					break
				}
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("away for %v, it took %v to catch up", away, took)
			}
		})
	}
}
