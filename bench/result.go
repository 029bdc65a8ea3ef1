package bench

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Figures are what one measurement gives. Times are milliseconds.
type Figures struct {
	Runs          int64   `json:"runs"`
	Seconds       float64 `json:"seconds"`
	RunsPerSecond float64 `json:"runs_per_second"`
	Mean          float64 `json:"mean_ms"`
	P50           float64 `json:"p50_ms"`
	P90           float64 `json:"p90_ms"`
	P99           float64 `json:"p99_ms"`
	P999          float64 `json:"p999_ms"`
	Max           float64 `json:"max_ms"`
	Failed        int64   `json:"failed"`
	// Errors counts failed calls by their gRPC code, also those that were made again.
	Errors map[string]int64 `json:"errors,omitempty"`
	// Processor seconds for 1,000 runs, of all nodes together and of this client.
	NodesCPU  float64 `json:"nodes_cpu_seconds_per_1000_runs,omitempty"`
	ClientCPU float64 `json:"client_cpu_seconds_per_1000_runs"`
	// ClientShare is how much of the machine this client used.
	ClientShare float64 `json:"client_cpu_percent"`
	NodesRSS    []int64 `json:"nodes_rss_bytes,omitempty"`
	// Extra holds what only this workload has.
	Extra map[string]float64 `json:"extra,omitempty"`
}

func (f *Figures) set(name string, value float64) {
	if f.Extra == nil {
		f.Extra = map[string]float64{}
	}
	f.Extra[name] = value
}

// take gives f the figures of another, and leaves it its own extras.
func (f *Figures) take(from *Figures) {
	extra := f.Extra
	*f = *from
	f.Extra = extra
}

// Phase is one step of a workload that measures several.
type Phase struct {
	Label string  `json:"label"`
	X     float64 `json:"x"`
	Figures
	// Ratios compare the phase with the first, if both were measured in turns; the
	// figures are those of the turn with the median of runs per second.
	Ratios map[string]Ratio `json:"ratios,omitempty"`
}

// Point is a moment of a workload that is watched over time: a second, or one
// of several events.
type Point struct {
	Second  float64 `json:"second"`
	Load    string  `json:"load,omitempty"`
	Runs    float64 `json:"runs_per_second,omitempty"`
	Sent    float64 `json:"sent_per_second,omitempty"`
	Refused float64 `json:"refused_per_second,omitempty"`
	P99     float64 `json:"p99_ms,omitempty"`
	RSS     int64   `json:"nodes_rss_bytes,omitempty"`
	Waiting int     `json:"waiting_runs,omitempty"`
	GapMS   float64 `json:"gap_ms,omitempty"`
	FirstMS float64 `json:"first_assignment_ms,omitempty"`
}

// Result is what a workload gives, and what is written as JSON.
type Result struct {
	Workload string         `json:"workload"`
	Target   string         `json:"target"`
	At       time.Time      `json:"at"`
	Machine  Machine        `json:"machine"`
	Params   map[string]any `json:"params"`
	Figures
	// CommandsPerSecond is what the bare log does, with the workload ceiling.
	CommandsPerSecond float64 `json:"commands_per_second,omitempty"`

	Phases   []Phase  `json:"phases,omitempty"`
	Series   []Point  `json:"series,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// ms gives milliseconds with three decimals.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (f *Figures) latency(h *Histogram) {
	const p50, p90, p99, p999 = 0.5, 0.9, 0.99, 0.999
	f.Mean, f.Max = ms(h.Mean()), ms(h.Max())
	f.P50, f.P90, f.P99, f.P999 = ms(h.Quantile(p50)), ms(h.Quantile(p90)), ms(h.Quantile(p99)), ms(h.Quantile(p999))
}

// costs fills in what was used between two moments.
func (f *Figures) costs(from, to usage) {
	const thousand = 1000
	f.ClientShare = 100 * (to.client - from.client) / (to.at.Sub(from.at).Seconds() * float64(runtime.NumCPU()))
	if f.Runs == 0 {
		return
	}
	f.ClientCPU = (to.client - from.client) / float64(f.Runs) * thousand
	if from.known && to.known {
		f.NodesCPU = (to.nodes - from.nodes) / float64(f.Runs) * thousand
	}
}

// clientLimit is the share of the machine, in percent, from which on this client
// may be what is measured.
const clientLimit = 45

func (r *Result) warnings() {
	share := r.ClientShare
	for _, p := range r.Phases {
		share = max(share, p.ClientShare)
	}
	if share > clientLimit {
		r.Warnings = append(r.Warnings, fmt.Sprintf("this client used %.0f %% of the machine (more than %d %%): measure from another machine, or hold the figure against that of `bench ceiling`", share, clientLimit))
	}
	if r.Runs == 0 {
		r.Warnings = append(r.Warnings, "no run ended while it was measured: give a longer --duration, and look whether the target answers")
	}
	if busy := r.Machine.Load1; busy > float64(r.Machine.Cores) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the load average was %.1f on %d cores before the start: other work makes these figures worse", busy, r.Machine.Cores))
	}
}

// Print writes a result for people.
func (r *Result) Print(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s against %s:%s\n", r.Workload, r.Target, paramsText(r.Params))
	if len(r.Phases) == 0 {
		r.print(&b, "  ")
	}
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "  %s\n", p.Label)
		p.print(&b, "    ")
		printRatios(&b, "    ", p.Ratios)
	}
	if r.CommandsPerSecond > 0 {
		fmt.Fprintf(&b, "  the log alone: %.0f commands/s\n", r.CommandsPerSecond)
	}
	if len(r.Phases) > 0 {
		printExtra(&b, "  ", r.Extra)
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", text)
	}
	_, _ = io.WriteString(w, b.String())
}

func (f *Figures) print(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s%.0f runs/s (%d runs in %.1f s, %d failed)\n", indent, f.RunsPerSecond, f.Runs, f.Seconds, f.Failed)
	fmt.Fprintf(b, "%slatency ms: p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f\n", indent, f.P50, f.P90, f.P99, f.P999, f.Max)
	fmt.Fprintf(b, "%sCPU seconds per 1,000 runs: client %.3f (%.0f %% of the machine)", indent, f.ClientCPU, f.ClientShare)
	if f.NodesCPU > 0 {
		fmt.Fprintf(b, ", nodes %.3f", f.NodesCPU)
	}
	b.WriteByte('\n')
	if total := sum(f.NodesRSS); total > 0 {
		const mib = 1 << 20
		fmt.Fprintf(b, "%smemory of the nodes: %d MiB\n", indent, total/mib)
	}
	for _, code := range slices.Sorted(maps.Keys(f.Errors)) {
		fmt.Fprintf(b, "%s%d calls ended with %s\n", indent, f.Errors[code], code)
	}
	printExtra(b, indent, f.Extra)
}

func printExtra(b *strings.Builder, indent string, extra map[string]float64) {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		fmt.Fprintf(b, "%s%s: %s\n", indent, strings.ReplaceAll(name, "_", " "), number(extra[name]))
	}
}

func printRatios(b *strings.Builder, indent string, ratios map[string]Ratio) {
	if len(ratios) == 0 {
		return
	}
	fmt.Fprintf(b, "%sbeside the first, in turns: median [min, max]\n", indent)
	for _, name := range Compared() {
		if r, ok := ratios[name]; ok {
			fmt.Fprintf(b, "%s  %s: %.2f [%.2f, %.2f]\n", indent, strings.ReplaceAll(name, "_", " "), r.Median, r.Min, r.Max)
		}
	}
}

func paramsText(params map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&b, " %s=%v", name, params[name])
	}
	return b.String()
}

// number prints with as many decimals as say something.
func number(v float64) string {
	switch {
	case v == float64(int64(v)), v >= 100, v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1, v <= -1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.4f", v)
	}
}
