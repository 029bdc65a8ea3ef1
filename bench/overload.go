package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// OverloadPlan is how much more than it can do a target is asked for.
type OverloadPlan struct {
	Rate   float64 // what it can do; 0 measures that first
	Factor float64
}

const (
	lightShare  = 0.2 // of what it can do, before and after
	lightLength = 5 * time.Second
	// goodSeconds in a row without refusals and with the old latency are a
	// recovery. recoveryWindow is how long that is looked for.
	goodSeconds    = 3
	recoveryWindow = 2 * time.Minute
	sampleEvery    = time.Second
	overSenders    = 4096
)

// Overload asks for more than a target can do, and looks at what it refuses, at
// its memory, and at how soon it is itself again.
func Overload(ctx context.Context, o *Options, p OverloadPlan) (*Result, error) {
	const mostFactor = 100
	if p.Factor <= 1 || p.Factor > mostFactor {
		return nil, &OptionError{"factor", fmt.Sprint(p.Factor), fmt.Sprintf("more than 1, to %d", mostFactor)}
	}
	if p.Rate != 0 {
		if err := checkRate(p.Rate); err != nil {
			return nil, err
		}
	}
	r := o.result("overload", map[string]any{"factor": p.Factor, "seconds": o.Duration.Seconds()})
	ctx, s, err := o.set(ctx, nil, oneTask("overload", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if p.Rate == 0 {
		short := *s
		opts := *o
		opts.Duration = lightLength
		short.Options = &opts
		f, err := short.closed(ctx, "what it can do", 1)
		if err != nil {
			return nil, err
		}
		p.Rate = f.RunsPerSecond
	}
	w := &overWatch{stage: s, result: r, begin: time.Now()}
	light := &openLoop{stage: s, rate: p.Rate * lightShare, senders: senders}
	w.watch(ctx, light, "before", lightLength, openWindow)
	before := sum(residentBytes(o.Target.PIDs))
	from := measureUsage(o.Target.PIDs)
	over := &openLoop{stage: s, rate: p.Rate * p.Factor, senders: overSenders, cut: true}
	due := w.watch(ctx, over, "overload", o.Duration, 0)
	r.Figures = over.figures(from, measureUsage(o.Target.PIDs), o.Duration.Seconds())
	ended := time.Now()
	w.recover(ctx, p.Rate*lightShare, light.hist.Quantile(0.99), ended)
	for end := time.Now().Add(openWindow); over.done.Load() < over.accepted.Load() && time.Now().Before(end) && pause(ctx, reportPause); {
	}
	r.NodesRSS = residentBytes(o.Target.PIDs)
	r.set("failed_calls_before_and_after", float64(light.errs.total()+w.after.errs.total()))
	r.set("sustainable_runs_per_second", p.Rate)
	r.set("due_per_second", float64(due)/o.Duration.Seconds())
	r.set("sent_per_second", float64(over.sent.Load())/o.Duration.Seconds())
	r.set("accepted_per_second", float64(over.accepted.Load())/o.Duration.Seconds())
	r.set("refused_per_second", float64(over.refused.Load())/o.Duration.Seconds())
	r.set("p99_before_ms", ms(light.hist.Quantile(0.99)))
	r.set("nodes_rss_before_bytes", float64(before))
	r.set("nodes_rss_peak_bytes", float64(w.peak))
	r.set("nodes_rss_after_bytes", float64(sum(r.NodesRSS)))
	r.set("unfinished_runs", float64(over.accepted.Load()-over.done.Load()))
	return r, ctx.Err()
}

// overWatch samples a load every second.
type overWatch struct {
	stage  *stage
	result *Result
	begin  time.Time
	peak   int64
	after  openLoop // the light load that follows
}

// watch runs a load and notes each of its seconds.
func (w *overWatch) watch(ctx context.Context, l *openLoop, kind string, length, patience time.Duration) (due int) {
	var group sync.WaitGroup
	group.Go(func() { due, _ = l.run(ctx, length, patience) })
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		w.stage.progress(1-float64(time.Until(end))/float64(length), "overload: "+kind)
		w.second(ctx, l, kind)
	}
	group.Wait()
	return due
}

// second notes what happens until the next.
func (w *overWatch) second(ctx context.Context, l *openLoop, kind string) Point {
	l.second.Store(&Histogram{})
	done, refused, sent := l.done.Load(), l.refused.Load(), l.sent.Load()
	start := time.Now()
	pause(ctx, sampleEvery)
	took := time.Since(start).Seconds()
	p := Point{
		Second: time.Since(w.begin).Seconds(), Load: kind, RSS: sum(residentBytes(w.stage.Target.PIDs)), Waiting: w.stage.watch.waiting(),
		Runs: float64(l.done.Load()-done) / took, Refused: float64(l.refused.Load()-refused) / took, Sent: float64(l.sent.Load()-sent) / took,
		P99: ms(l.second.Load().Quantile(0.99)),
	}
	w.peak = max(w.peak, p.RSS)
	w.result.Series = append(w.result.Series, p)
	return p
}

// recover loads lightly until the target does as it did before.
func (w *overWatch) recover(ctx context.Context, rate float64, before time.Duration, ended time.Time) {
	const times, grace = 2, 20 * time.Millisecond
	l := &w.after
	l.stage, l.rate, l.senders = w.stage, rate, senders
	loading, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { l.runUntil(ctx, loading, recoveryWindow, openWindow) })
	good, since := 0, ended
	for good < goodSeconds && time.Since(ended) < recoveryWindow && ctx.Err() == nil {
		start := time.Now()
		p := w.second(ctx, l, "after")
		if p.Runs == 0 || p.Refused > 0 || p.P99 > ms(times*before+grace) {
			good, since = 0, time.Now()
			continue
		}
		if good++; good == 1 {
			since = start
		}
	}
	stop()
	group.Wait()
	if good < goodSeconds {
		w.result.Warnings = append(w.result.Warnings, fmt.Sprintf("not as before within %v", recoveryWindow))
		since = time.Now()
	}
	w.result.set("recovery_seconds", since.Sub(ended).Seconds())
}
