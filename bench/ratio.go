package bench

import "slices"

// Ratio sums up how a figure of B compares with the same of A over several turns:
// above 1 B has more.
type Ratio struct {
	Min    float64   `json:"min"`
	Median float64   `json:"median"`
	Max    float64   `json:"max"`
	All    []float64 `json:"all"`
}

// compared are the figures of which ratios are given, in the order in which they
// are shown.
func compared() []struct {
	name string
	of   func(*Figures) float64
} {
	return []struct {
		name string
		of   func(*Figures) float64
	}{
		{"runs_per_second", func(f *Figures) float64 { return f.RunsPerSecond }},
		{"p50_ms", func(f *Figures) float64 { return f.P50 }},
		{"p99_ms", func(f *Figures) float64 { return f.P99 }},
		{"nodes_cpu_seconds_per_1000_runs", func(f *Figures) float64 { return f.NodesCPU }},
	}
}

// Compared names the figures of which Ratios gives ratios, in the order in which
// they are shown.
func Compared() []string {
	var names []string
	for _, c := range compared() {
		names = append(names, c.name)
	}
	return names
}

// Ratios compares two targets that were measured in turns, the n-th of one with
// the n-th of the other. A figure that A never had is left out.
func Ratios(a, b []*Figures) map[string]Ratio {
	out := map[string]Ratio{}
	for _, c := range compared() {
		var r Ratio
		for i := range min(len(a), len(b)) {
			if c.of(a[i]) > 0 {
				r.All = append(r.All, c.of(b[i])/c.of(a[i]))
			}
		}
		if len(r.All) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(r.All))
		r.Min, r.Max = sorted[0], sorted[len(sorted)-1]
		r.Median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
		out[c.name] = r
	}
	return out
}
