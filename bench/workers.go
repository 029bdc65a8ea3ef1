package bench

import (
	"context"
	"fmt"
	"time"
)

// Workers measures a live load with so many workers attached: once for each of
// the counts.
func Workers(ctx context.Context, o *Options, counts []int) (*Result, error) {
	const idle = 4 * time.Second
	if err := checkCounts("counts", counts, 1, maxWorkers); err != nil {
		return nil, err
	}
	r := o.result("workers", map[string]any{"outstanding": o.Outstanding, "sticky": o.Sticky})
	delete(r.Params, "workers")
	first := *o
	first.Workers = counts[0]
	ctx, s, err := first.set(ctx, nil, oneTask("workers", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	for _, n := range counts {
		begin := time.Now()
		more := n - len(s.fleet.workers())
		s.progress(0, fmt.Sprintf("attaching %d workers", n))
		if err := s.fleet.attach(ctx, more); err != nil {
			return nil, err
		}
		took := time.Since(begin).Seconds()
		// What attached workers cost without any work: heartbeats, mostly.
		from := measureUsage(o.Target.PIDs)
		pause(ctx, idle)
		to := measureUsage(o.Target.PIDs)
		f, err := s.closed(ctx, fmt.Sprintf("%d workers", n), 1)
		if err != nil {
			return nil, err
		}
		if more > 0 {
			f.set("attached_per_second", float64(more)/took)
		}
		if from.known && to.known && f.NodesCPU > 0 {
			const percent, thousand = 100, 1000
			share := (to.nodes - from.nodes) / to.at.Sub(from.at).Seconds()
			f.set("idle_nodes_cpu_percent", share*percent)
			f.set("nodes_cpu_seconds_per_1000_runs_above_idle", f.NodesCPU-share/f.RunsPerSecond*thousand)
		}
		f.set("broken_streams", float64(s.fleet.breaks.Load()))
		r.Phases = append(r.Phases, Phase{Label: fmt.Sprintf("%d workers", n), X: float64(n), Figures: f})
	}
	r.ends()
	return r, nil
}
