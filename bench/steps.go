package bench

import "fmt"

// checkCounts wants a list that grows.
func checkCounts(option string, counts []int, least, most int) error {
	for i, n := range counts {
		if n < least || n > most || i > 0 && n <= counts[i-1] {
			return &OptionError{option, fmt.Sprint(counts), fmt.Sprintf("numbers from %d to %d, each more than the one before", least, most)}
		}
	}
	if len(counts) == 0 {
		return &OptionError{option, "", "at least one number"}
	}
	return nil
}

// ends compares the last phase with the first, and takes the first for the
// result's own figures.
func (r *Result) ends() {
	first, last := r.Phases[0].Figures, r.Phases[len(r.Phases)-1].Figures
	r.take(&first)
	if first.RunsPerSecond > 0 && first.P99 > 0 {
		r.set("last_to_first_runs_per_second", last.RunsPerSecond/first.RunsPerSecond)
		r.set("last_to_first_p99", last.P99/first.P99)
	}
	if first.NodesCPU > 0 {
		r.set("last_to_first_nodes_cpu", last.NodesCPU/first.NodesCPU)
	}
	r.warnings()
}
