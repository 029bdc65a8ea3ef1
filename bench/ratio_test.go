package bench

import "testing"

func TestRatiosAreOfTheSameTurn(t *testing.T) {
	of := func(runs ...float64) (out []*Figures) {
		for _, v := range runs {
			out = append(out, &Figures{RunsPerSecond: v, P99: 2})
		}
		return out
	}
	r := Ratios(of(100, 200, 50, 10), of(90, 220, 25, 10))
	if got := r["runs_per_second"]; got.Min != 0.5 || got.Median != 0.95 || got.Max != 1.1 || len(got.All) != 4 {
		t.Errorf("runs per second: %+v", got)
	}
	if got := r["p99_ms"]; got.Median != 1 {
		t.Errorf("p99: %+v", got)
	}
	if _, ok := r["nodes_cpu_seconds_per_1000_runs"]; ok {
		t.Error("there is a ratio to what was not measured")
	}
	if got := medianTurn(of(3, 1, 2)).RunsPerSecond; got != 2 {
		t.Errorf("the turn with the median has %v", got)
	}
	if got := medianTurn(of(4, 3, 1, 2)).RunsPerSecond; got != 2 {
		t.Errorf("of four turns: %v", got)
	}
}
