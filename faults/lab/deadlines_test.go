package lab

import (
	"testing"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// A leader may lay its duties down and take them up again in one term.
func TestALossCountsFromTheReignThatItFellIn(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		at    time.Duration
		since time.Duration // of the deadline that is told; negative: none
		early bool
	}{
		{"before the leader led", 5 * s, -1, false},
		{"in its first reign", 40 * s, 10 * s, false},
		{"early in its second reign", 55 * s, 50 * s, true},
		{"late in its second reign", 70 * s, 50 * s, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplayer(history.NewRecorder(nil))
			r.learn(history.History{
				{Kind: history.Leader, Term: 3, At: 50 * s}, {Kind: history.Leader, Term: 3, At: 10 * s}, {Kind: history.Leader, Term: 4, At: 20 * s},
			}, nil)
			r.term, r.at = 3, r.into.Start().Add(c.at)
			r.lost(&fsm.Worker{Lease: fsm.Lease{Reason: "no heartbeat for 15s"}})
			h := r.into.History()
			if c.since < 0 {
				if len(h) != 0 {
					t.Errorf("judged without a leader: %+v", h)
				}
				return
			}
			if len(h) != 1 || h[0].Since != c.since {
				t.Fatalf("told %+v, want one deadline since %v", h, c.since)
			}
			if early := len(check.Early(h)) > 0; early != c.early {
				t.Errorf("early: %v", early)
			}
		})
	}
}
