package report

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/bench"
)

// The lines between which a document's figures stand.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// Insert puts text between the marks of a document.
func Insert(file, text string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	head, rest, ok := strings.Cut(string(raw), beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", file, beginMark, endMark)
	}
	if err := os.WriteFile(file, []byte(head+beginMark+"\n\n"+strings.TrimSpace(text)+"\n\n"+endMark+tail), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// Markdown gives the tables. Plots are linked below a folder, unless it is "".
func (r Results) Markdown(images string) string {
	b := &strings.Builder{}
	r.machine(b)
	r.oneTask(b)
	r.shapes(b)
	r.phased(b, steps{
		"backlog", "A backlog for absent workers", "parked HARD runs",
		"A live load of one-task runs while HARD runs wait for workers that are gone." + turnsText(r.one("backlog")),
		"bytes_per_parked_run_and_node", "bytes per parked run and node",
	})
	r.phased(b, steps{
		"workers", "Many workers", "workers",
		"The same load with so many workers attached, over shared connections; heartbeats every 4 s as the SDKs send them.",
		"nodes_cpu_seconds_per_1000_runs_above_idle", "of that above idle",
	})
	r.failover(b)
	r.overload(b)
	if images == "" {
		return b.String()
	}
	for _, p := range r.plots() {
		fmt.Fprintf(b, "![%s](%s/%s)\n\n", p.about, images, p.name)
	}
	return b.String()
}

func (r Results) machine(b *strings.Builder) {
	var m bench.Machine
	var first, last time.Time
	low, high := 0.0, 0.0
	for _, list := range r {
		for _, x := range list {
			if first.IsZero() || x.At.Before(first) {
				first, m = x.At, x.Machine
			}
			if x.At.After(last) {
				last = x.At
			}
			if high == 0 || x.Machine.Load1 < low {
				low = x.Machine.Load1
			}
			high = max(high, x.Machine.Load1)
		}
	}
	const gib = 1 << 30
	fmt.Fprintf(b, "Measured %s on %d cores (%s), %.0f GiB, Linux %s, %s; load average before the measurements %.1f to %.1f.\n\n",
		last.Format("2006-01-02"), m.Cores, m.CPU, float64(m.Memory)/gib, m.Kernel, m.Go, low, high)
}

// table writes rows under a header, unless there are none.
func table(b *strings.Builder, title, about string, header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "### %s\n\n", title)
	if about != "" {
		b.WriteString(about + "\n\n")
	}
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(header)
	b.WriteString(strings.Repeat("|---", len(header)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	b.WriteString("\n")
}

// grouped writes a whole number with commas.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// times gives four percentiles in milliseconds.
func times(f *bench.Figures) []string {
	out := make([]string, 0, 4)
	for _, v := range []float64{f.P50, f.P90, f.P99, f.P999} {
		switch {
		case v < 10:
			out = append(out, fmt.Sprintf("%.1f", v))
		default:
			out = append(out, grouped(v))
		}
	}
	return out
}

func seconds(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", v)
}

func (r Results) oneTask(b *strings.Builder) {
	var rows [][]string
	row := func(name string, x *bench.Result, share string) {
		rows = append(rows, slices.Concat([]string{name, short(param(x, "outstanding")), grouped(x.RunsPerSecond)}, times(&x.Figures),
			[]string{seconds(x.NodesCPU), seconds(x.ClientCPU), share}))
	}
	for _, x := range slices.Concat(r["throughput"], r["bulk"]) {
		name := "one by one"
		if batch := param(x, "batch"); batch > 0 {
			name = short(batch) + " in a call"
		}
		share := ""
		if c := r.ceilingFor(x); c != nil && c.RunsPerSecond > 0 && param(x, "outstanding") >= param(c, "outstanding") {
			share = fmt.Sprintf("%.0f %%", 100*x.RunsPerSecond/c.RunsPerSecond)
		}
		row(name, x, share)
	}
	var log string
	for _, c := range r["ceiling"] {
		name := "ceiling, one by one"
		if batch := param(c, "batch"); batch > 1 {
			name = "ceiling, " + short(batch) + " in a call"
		}
		row(name, c, "")
		log = fmt.Sprintf("A stub on the wire without any log does %s runs/s; the log alone commits %s commands/s of %s bytes in %s entries/s.",
			grouped(c.Extra["stub_runs_per_second"]), grouped(c.CommandsPerSecond), short(param(c, "command_bytes")), grouped(c.Extra["log_entries_per_second"]))
	}
	table(b, "One-task runs", log, []string{
		"triggered", "in flight", "runs/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "CPU s per 1,000 runs: nodes", "client", "share of the ceiling",
	}, rows)
}

func (r Results) shapes(b *strings.Builder) {
	var rows [][]string
	row := func(name string, x *bench.Result) {
		rows = append(rows, slices.Concat([]string{name, grouped(x.RunsPerSecond)}, times(&x.Figures), []string{seconds(x.NodesCPU)}))
	}
	for _, x := range r["latency"] {
		row("open loop at "+short(param(x, "rate"))+"/s, times from when a run was due", x)
	}
	for _, x := range r["dag"] {
		row(fmt.Sprintf("two roots and a fan-in, %v; %s in flight", x.Params["sticky"], short(param(x, "outstanding"))), x)
	}
	for _, x := range r["fanout"] {
		row(fmt.Sprintf("a parent with %s sticky children; %s in flight", short(param(x, "children")), short(param(x, "outstanding"))), x)
	}
	table(b, "Other shapes", "", []string{"load", "runs/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "CPU s per 1,000 runs: nodes"}, rows)
}

// steps says how a workload that was measured in steps is shown.
type steps struct{ workload, title, label, about, extra, extraLabel string }

func (r Results) phased(b *strings.Builder, s steps) {
	x := r.one(s.workload)
	if x == nil {
		return
	}
	header := []string{s.label, "runs/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "CPU s per 1,000 runs: nodes", s.extraLabel}
	var rows [][]string
	inTurns := slices.ContainsFunc(x.Phases, func(p bench.Phase) bool { return len(p.Ratios) > 0 })
	if inTurns {
		header = append(header, "beside the first: runs/s", "p99", "CPU")
	}
	for _, p := range x.Phases {
		more := ""
		if v, ok := p.Extra[s.extra]; ok && v >= 100 {
			more = grouped(v)
		} else if ok {
			more = seconds(v)
		}
		row := slices.Concat([]string{grouped(p.X), grouped(p.RunsPerSecond)}, times(&p.Figures), []string{seconds(p.NodesCPU), more})
		if inTurns {
			row = append(row, ratioText(p, "runs_per_second"), ratioText(p, "p99_ms"), ratioText(p, "nodes_cpu_seconds_per_1000_runs"))
		}
		rows = append(rows, row)
	}
	table(b, s.title, s.about, header, rows)
}

// turnsText says how phases were measured that were measured in turns.
func turnsText(x *bench.Result) string {
	if x == nil || param(x, "turns") == 0 {
		return ""
	}
	return fmt.Sprintf(" Each number has a cluster of its own, and is measured in turns with the first (%s, after one that does not count); "+
		"the ratios are medians, and in brackets the least and the most.", short(param(x, "turns")))
}

// ratioText is a ratio to the first phase; nothing for the first.
func ratioText(p bench.Phase, name string) string {
	r, ok := p.Ratios[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", r.Median, r.Min, r.Max)
}

func (r Results) failover(b *strings.Builder) {
	x := r.one("failover")
	if x == nil {
		return
	}
	var rows [][]string
	for _, c := range []struct{ name, key string }{
		{"longest time without an assignment", "gap"}, {"first assignment of a run that was due after the kill", "first_assignment"},
	} {
		row := []string{c.name}
		for _, q := range []string{"p50", "p90", "p99", "max"} {
			row = append(row, grouped(x.Extra[c.key+"_"+q+"_ms"]))
		}
		rows = append(rows, row)
	}
	var errs int64
	for _, n := range x.Errors {
		errs += n
	}
	about := fmt.Sprintf("%s leaders killed (SIGKILL) under %s runs/s: %s runs, %s lost, %s tasks doubled, %s failed, %s never accepted; %s calls failed and were made again.",
		short(param(x, "kills")), short(param(x, "rate")), grouped(float64(x.Runs)), grouped(x.Extra["lost_runs"]), grouped(x.Extra["doubled_tasks"]),
		grouped(float64(x.Failed)), grouped(x.Extra["not_accepted_runs"]), grouped(float64(errs)))
	table(b, "Failover", about, []string{"ms", "p50", "p90", "p99", "max"}, rows)
}

func (r Results) overload(b *strings.Builder) {
	x := r.one("overload")
	if x == nil {
		return
	}
	const mib = 1 << 20
	rows := [][]string{}
	for _, c := range []struct {
		name, key string
		unit      float64
	}{
		{"what it can do, runs/s", "sustainable_runs_per_second", 1},
		{"calls sent, per second", "sent_per_second", 1},
		{"accepted, per second", "accepted_per_second", 1},
		{"refused, per second", "refused_per_second", 1},
		{"memory of the nodes before, MiB", "nodes_rss_before_bytes", mib},
		{"memory at its peak, MiB", "nodes_rss_peak_bytes", mib},
		{"memory after, MiB", "nodes_rss_after_bytes", mib},
		{"accepted and not finished at the end", "unfinished_runs", 1},
	} {
		rows = append(rows, []string{c.name, grouped(x.Extra[c.key] / c.unit)})
	}
	rows = append(rows, []string{"as before again after, s", fmt.Sprintf("%.1f", x.Extra["recovery_seconds"])})
	about := fmt.Sprintf("%s times what the cluster can do, for %s s.", short(param(x, "factor")), short(param(x, "seconds")))
	table(b, "Overload", about, []string{"", ""}, rows)
}
