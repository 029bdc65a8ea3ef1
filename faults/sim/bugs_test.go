//go:build limpet_bugs

package sim_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/faults/sim"
	"github.com/limpet-dev/limpet/internal/bugs"
)

var (
	tries = flag.Int("tries", 150, "seeds to play for each deliberate bug before it counts as missed")
	only  = flag.String("bug", "", "play only this deliberate bug")
)

// Each deliberate bug must be caught within so many seeds.
func TestEveryBugIsCaught(t *testing.T) {
	var table strings.Builder
	for _, bug := range bugs.All() {
		if *only != "" && string(bug) != *only {
			continue
		}
		t.Run(string(bug), func(t *testing.T) {
			bugs.Set(bug)
			defer bugs.Set("")
			began := time.Now()
			for n := 1; n <= *tries; n++ {
				seed := *from + uint64(n) - 1
				p := sim.NewPlan(seed)
				out := playSub(t, p)
				if !out.Failed() {
					continue
				}
				var by []string
				for _, v := range out.Violations {
					if !slices.Contains(by, v.Invariant) {
						by = append(by, v.Invariant)
					}
				}
				fmt.Fprintf(&table, "| %s | %d | %s | %.1f |\n", bug, n, strings.Join(by, ", "), time.Since(began).Seconds())
				t.Logf("seed %d: %v", seed, out.Violations[0])
				return
			}
			t.Errorf("not caught by %d seeds from %d", *tries, *from)
		})
	}
	t.Logf("\n| bug | seeds to catch | caught by | seconds |\n|---|---|---|---|\n%s", table.String())
}

// playSub plays as a test of its own, as a bubble needs.
func playSub(t *testing.T, p *sim.Plan) (out *sim.Outcome) {
	t.Helper()
	t.Run(fmt.Sprint(p.Seed), func(t *testing.T) { out = play(t, p) })
	return out
}
