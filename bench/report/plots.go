package report

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/limpet-dev/limpet/bench"
)

type plot struct {
	name   string
	about  string
	charts []Chart
}

// plots are those that there are results for, in the order of the handbook.
func (r Results) plots() (out []plot) {
	add := func(name, about string, charts ...Chart) {
		for _, c := range charts {
			if len(c.Lines) == 0 {
				return
			}
		}
		out = append(out, plot{name, about, charts})
	}
	if len(r["throughput"]) > 1 {
		add("bench-throughput.svg", "One-task runs a second and their latency, by runs in flight", r.inFlight()...)
	}
	if b := r.one("backlog"); b != nil {
		add("bench-backlog.svg", "A live load beside runs that wait for absent workers", phases(b, "parked HARD runs")...)
	}
	if w := r.one("workers"); w != nil {
		add("bench-workers.svg", "A live load with many workers attached", phases(w, "attached workers")...)
	}
	if f := r.one("failover"); f != nil {
		add("bench-failover.svg", "Leader kills, from the shortest gap to the longest", kills(f))
	}
	if o := r.one("overload"); o != nil {
		add("bench-overload.svg", "More load than the cluster can do", overload(o)...)
	}
	return out
}

// inFlight draws throughput against what is in flight.
func (r Results) inFlight() []Chart {
	list := r["throughput"]
	rate := Chart{Title: "One-task runs a second", XLabel: "runs in flight"}
	times := Chart{Title: "Latency, ms", XLabel: "runs in flight"}
	runs, top := Line{Name: "three nodes"}, Line{Name: "ceiling of the machine"}
	p50, p99 := Line{Name: "p50"}, Line{Name: "p99"}
	for i, m := range list {
		at := float64(i)
		place := short(param(m, "outstanding"))
		rate.Places, times.Places = append(rate.Places, place), append(times.Places, place)
		runs.add(at, m.RunsPerSecond)
		p50.add(at, m.P50)
		p99.add(at, m.P99)
		if c := r.ceilingFor(m); c != nil {
			top.add(at, c.RunsPerSecond)
		}
	}
	rate.Lines = []Line{runs}
	if len(top.Y) > 0 {
		rate.Lines = append(rate.Lines, top)
	}
	times.Lines = []Line{p50, p99}
	return []Chart{rate, times}
}

func (l *Line) add(x, y float64) { l.X, l.Y = append(l.X, x), append(l.Y, y) }

// phases draws the steps of a workload.
func phases(r *bench.Result, label string) []Chart {
	rate := Chart{Title: "Runs a second", XLabel: label}
	times := Chart{Title: "Latency, ms", XLabel: label}
	cost := Chart{Title: "Processor seconds of the nodes for 1,000 runs", XLabel: label}
	var runs, p50, p99, cpu Line
	for i, p := range r.Phases {
		at := float64(i)
		for _, c := range []*Chart{&rate, &times, &cost} {
			c.Places = append(c.Places, short(p.X))
		}
		runs.add(at, p.RunsPerSecond)
		p50.add(at, p.P50)
		p99.add(at, p.P99)
		cpu.add(at, p.NodesCPU)
	}
	runs.Name, p50.Name, p99.Name, cpu.Name = "runs a second", "p50", "p99", "all nodes"
	rate.Lines, times.Lines, cost.Lines = []Line{runs}, []Line{p50, p99}, []Line{cpu}
	if slices.Max(cpu.Y) == 0 {
		return []Chart{rate, times}
	}
	return []Chart{rate, times, cost}
}

func kills(r *bench.Result) Chart {
	gap, first := Line{Name: "longest time without an assignment", Dots: true}, Line{Name: "first assignment of a run that came after the kill", Dots: true}
	var gaps, firsts []float64
	for _, p := range r.Series {
		gaps, firsts = append(gaps, p.GapMS), append(firsts, p.FirstMS)
	}
	slices.Sort(gaps)
	slices.Sort(firsts)
	for i := range gaps {
		gap.add(float64(i+1), gaps[i])
		first.add(float64(i+1), firsts[i])
	}
	return Chart{Title: strconv.Itoa(len(gaps)) + " leaders killed: ms", XLabel: "kills, sorted", Lines: []Line{gap, first}}
}

func overload(r *bench.Result) []Chart {
	const mib = 1 << 20
	rate := Chart{Title: "A second", XLabel: "seconds"}
	memory := Chart{Title: "Memory of the nodes, MiB", XLabel: "seconds"}
	sent, done, refused, rss := Line{Name: "calls sent"}, Line{Name: "runs finished"}, Line{Name: "calls refused"}, Line{Name: "all nodes"}
	for _, p := range r.Series {
		sent.add(p.Second, p.Sent)
		done.add(p.Second, p.Runs)
		refused.add(p.Second, p.Refused)
		rss.add(p.Second, float64(p.RSS)/mib)
	}
	if len(sent.Y) == 0 {
		return []Chart{{}}
	}
	rate.Title = fmt.Sprintf("Calls and runs a second, at %s times what it can do", short(param(r, "factor")))
	rate.Lines, memory.Lines = []Line{sent, done, refused}, []Line{rss}
	return []Chart{rate, memory}
}
