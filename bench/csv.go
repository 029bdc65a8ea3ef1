package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

// WriteCSV writes a result as lines: one, or one for each phase.
func WriteCSV(w io.Writer, r *Result, header bool) error {
	c := csv.NewWriter(w)
	if header {
		_ = c.Write([]string{
			"at", "workload", "target", "phase", "runs", "seconds", "runs_per_second", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms",
			"failed", "nodes_cpu_seconds_per_1000_runs", "client_cpu_seconds_per_1000_runs", "client_cpu_percent", "nodes_rss_bytes",
		})
	}
	line := func(phase string, f *Figures) {
		out := []string{r.At.Format(time.RFC3339), r.Workload, r.Target, phase, strconv.FormatInt(f.Runs, 10)}
		for _, v := range []float64{f.Seconds, f.RunsPerSecond, f.Mean, f.P50, f.P90, f.P99, f.P999, f.Max} {
			out = append(out, strconv.FormatFloat(v, 'f', 3, 64))
		}
		out = append(out, strconv.FormatInt(f.Failed, 10))
		for _, v := range []float64{f.NodesCPU, f.ClientCPU, f.ClientShare} {
			out = append(out, strconv.FormatFloat(v, 'f', 4, 64))
		}
		_ = c.Write(append(out, strconv.FormatInt(sum(f.NodesRSS), 10)))
	}
	if len(r.Phases) == 0 {
		line("", &r.Figures)
	}
	for _, p := range r.Phases {
		line(p.Label, &p.Figures)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
