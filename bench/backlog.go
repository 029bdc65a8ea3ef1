package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

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

// Backlog measures a live load while so many HARD runs wait for workers that
// are gone: once for each of the counts.
func Backlog(ctx context.Context, o *Options, parked []int, absent int) (*Result, error) {
	const mostParked, mostAbsent = 10_000_000, 10_000
	if err := checkCounts("parked", parked, 0, mostParked); err != nil {
		return nil, err
	}
	if absent < 1 || absent > mostAbsent {
		return nil, &OptionError{"absent", fmt.Sprint(absent), fmt.Sprintf("1 to %d", mostAbsent)}
	}
	r := o.result("backlog", map[string]any{"outstanding": o.Outstanding, "absent": absent, "sticky": o.Sticky})
	hard := oneTask("parked", "hard")
	ctx, s, err := o.set(ctx, nil, oneTask("live", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if err := s.wire.register(ctx, hard); err != nil {
		return nil, err
	}
	gone, err := s.vanished(ctx, hard, absent)
	if err != nil {
		return nil, err
	}
	before := residentBytes(o.Target.PIDs)
	for i, n := range parked {
		have := 0
		if i > 0 {
			have = parked[i-1]
		}
		begin := time.Now()
		if err := s.park(ctx, hard.name, gone, have, n); err != nil {
			return nil, fmt.Errorf("park runs: %w", err)
		}
		took := time.Since(begin).Seconds()
		after := residentBytes(o.Target.PIDs)
		f, err := s.closed(ctx, fmt.Sprintf("%d parked", n), 1)
		if err != nil {
			return nil, err
		}
		if n > have {
			f.set("parked_per_second", float64(n-have)/took)
		}
		if n > 0 && len(before) > 0 && sum(before) > 0 {
			f.set("bytes_per_parked_run_and_node", float64(sum(after)-sum(before))/float64(n*len(before)))
		}
		r.Phases = append(r.Phases, Phase{Label: fmt.Sprintf("%d parked", n), X: float64(n), Figures: f})
	}
	r.ends()
	return r, nil
}

// ends compares the last phase with the first, and takes the first for the
// result's own figures.
func (r *Result) ends() {
	first, last := r.Phases[0].Figures, r.Phases[len(r.Phases)-1].Figures
	extra := r.Extra
	r.Figures = first
	r.Extra = extra
	if first.RunsPerSecond > 0 && first.P99 > 0 {
		r.set("last_to_first_runs_per_second", last.RunsPerSecond/first.RunsPerSecond)
		r.set("last_to_first_p99", last.P99/first.P99)
	}
	if first.NodesCPU > 0 {
		r.set("last_to_first_nodes_cpu", last.NodesCPU/first.NodesCPU)
	}
	r.warnings()
}

// vanished gives workers that were attached once and are gone without a word.
func (s *stage) vanished(ctx context.Context, flow workflow, n int) ([]string, error) {
	inner, stop := context.WithCancel(ctx)
	f := newFleet(inner, s.wire, fleetSpec{actions: flow.actions(), slots: 1, reporters: 1})
	err := f.attach(inner, n)
	stop()
	f.work.Wait()
	if err != nil {
		return nil, err
	}
	const breakSeen = 500 * time.Millisecond // the nodes have noticed that the streams ended
	pause(ctx, breakSeen)
	var ids []string
	for _, w := range f.workers() {
		ids = append(ids, w.id)
	}
	return ids, nil
}

// park triggers runs for workers that are gone until there are n.
func (s *stage) park(ctx context.Context, flow string, workers []string, have, n int) error {
	const batch, atOnce = 250, 8
	var next atomic.Int64
	next.Store(int64(have))
	errs := make(chan error, atOnce)
	var group sync.WaitGroup
	for i := range atOnce {
		group.Go(func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				s.progress(float64(from-have)/float64(n-have), fmt.Sprintf("parking %d runs", n))
				if err := s.parkBatch(ctx, i, flow, workers, from, min(from+batch, n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

func (s *stage) parkBatch(ctx context.Context, node int, flow string, workers []string, from, to int) error {
	req := &compat.BulkTriggerWorkflowRequest{}
	for k := from; k < to; k++ {
		req.Workflows = append(req.Workflows, &compatv1.TriggerWorkflowRequest{
			Name: flow, Input: s.input(), DesiredWorkerId: &workers[k%len(workers)],
		})
	}
	for {
		_, err := s.wire.triggers(node).BulkTriggerWorkflow(ctx, req)
		if err == nil || !passing(err) {
			return err
		}
		if !pause(ctx, reportPause) {
			return ctx.Err()
		}
	}
}

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
