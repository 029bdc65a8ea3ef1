package sim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/faults/sim"
)

func TestShrinkKeepsWhatMatters(t *testing.T) {
	p := sim.NewPlan(7)
	if len(p.Steps) < 10 {
		t.Fatalf("the plan has %d steps", len(p.Steps))
	}
	need := []sim.Step{p.Steps[2], p.Steps[len(p.Steps)-3]}
	asked := 0
	fails := func(q *sim.Plan) bool {
		asked++
		for _, s := range need {
			if !slices.ContainsFunc(q.Steps, func(o sim.Step) bool { return o.String() == s.String() }) {
				return false
			}
		}
		return true
	}
	got := sim.Shrink(p, fails, 1000)
	if len(got.Steps) != 2 || got.Steps[0].String() != need[0].String() || got.Steps[1].String() != need[1].String() {
		t.Errorf("shrunk to\n%v\nwant\n%v", got, need)
	}
	all := asked
	if sim.Shrink(p, fails, 5); asked != all+5 {
		t.Errorf("asked %d times, and was allowed to 5 times", asked-all)
	}
}

func TestASeedIsAScript(t *testing.T) {
	kinds := map[sim.Act]bool{}
	for seed := range uint64(300) {
		p := sim.NewPlan(seed)
		if p.String() != sim.NewPlan(seed).String() {
			t.Fatalf("seed %d gives two scripts", seed)
		}
		for _, s := range p.Steps {
			kinds[s.Do] = true
			if s.At+s.For > p.Length+8e9 {
				t.Errorf("seed %d: %v goes on for long after the end, %v", seed, s, p.Length)
			}
			if !strings.Contains(p.String(), s.String()) {
				t.Errorf("seed %d: %v is not in the script", seed, s)
			}
		}
	}
	if len(kinds) < 26 {
		t.Errorf("300 seeds have only %d kinds of step: %v", len(kinds), kinds)
	}
}
