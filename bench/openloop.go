package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// openLoop triggers runs at a fixed rate, however long the answers take.
type openLoop struct {
	stage   *stage
	rate    float64
	senders int
	// retry makes a call again, at another node, for so long; 0 counts the error.
	retry time.Duration
	// cut drops, at the end, the arrivals that no sender was free for, instead of
	// sending them late.
	cut bool
	// input makes the input of a run; nil takes the stage's.
	input func(due time.Time) string

	hist     Histogram                 // of all runs
	second   atomic.Pointer[Histogram] // of the current second, if anybody looks
	sent     atomic.Int64              // calls that were begun
	accepted atomic.Int64
	done     atomic.Int64
	failed   atomic.Int64
	refused  atomic.Int64 // calls that ended with ResourceExhausted
	errs     tally
	pooled   sync.Pool
}

// openRun waits for the end of one run.
type openRun struct {
	loop *openLoop
	due  time.Time
}

func (r *openRun) finished(ok bool, at time.Time) {
	l := r.loop
	l.hist.Record(at.Sub(r.due))
	if h := l.second.Load(); h != nil {
		h.Record(at.Sub(r.due))
	}
	if !ok {
		l.failed.Add(1)
	}
	l.done.Add(1)
	l.pooled.Put(r)
}

// run loads the target for so long and then waits for what is under way. It
// gives how many runs were due, and how many accepted ones have not ended.
func (l *openLoop) run(ctx context.Context, length, patience time.Duration) (due int, missing int64) {
	return l.runUntil(ctx, ctx, length, patience)
}

// runUntil is run, but begins no run any more once the context loading has ended.
func (l *openLoop) runUntil(ctx, loading context.Context, length, patience time.Duration) (due int, missing int64) {
	const ahead = 65536 // arrivals for which no sender is free
	l.pooled.New = func() any { return &openRun{} }
	arrivals := make(chan time.Time, ahead)
	var group sync.WaitGroup
	var over atomic.Bool
	for i := range l.senders {
		group.Go(func() {
			req := &compatv1.TriggerWorkflowRequest{Name: l.stage.flow.name, Input: l.stage.input()}
			for at := range arrivals {
				if !over.Load() {
					l.send(ctx, i, req, at)
				}
			}
		})
	}
	due = pace(loading, l.rate, length, arrivals)
	over.Store(l.cut)
	close(arrivals)
	group.Wait()
	const poll = 5 * time.Millisecond
	for end := time.Now().Add(patience); l.done.Load() < l.accepted.Load() && time.Now().Before(end) && pause(ctx, poll); {
	}
	return due, l.accepted.Load() - l.done.Load()
}

func (l *openLoop) send(ctx context.Context, node int, req *compatv1.TriggerWorkflowRequest, due time.Time) {
	if l.input != nil {
		req.Input = l.input(due)
	}
	l.sent.Add(1)
	for ctx.Err() == nil {
		res, err := l.stage.wire.triggers(node).TriggerWorkflow(ctx, req)
		if err == nil {
			r, ok := l.pooled.Get().(*openRun)
			if !ok {
				r = &openRun{}
			}
			r.loop, r.due = l, due
			l.accepted.Add(1)
			l.stage.watch.add(node, res.GetWorkflowRunId(), r)
			return
		}
		l.errs.add(err)
		if status.Code(err) == codes.ResourceExhausted {
			l.refused.Add(1)
		}
		if !passing(err) || time.Since(due) >= l.retry {
			return
		}
		node++
		pause(ctx, reconnectPause)
	}
}

// figures sums up a loop that was measured from begin to end.
func (l *openLoop) figures(from, to usage, seconds float64) Figures {
	f := Figures{Runs: l.done.Load(), Failed: l.failed.Load(), Errors: l.errs.snapshot(), Seconds: seconds}
	f.RunsPerSecond = float64(f.Runs) / seconds
	f.latency(&l.hist)
	f.costs(from, to)
	return f
}

const (
	mostRate   = 1_000_000
	senders    = 1024
	openWindow = 30 * time.Second // how long ends are waited for
)

func checkRate(rate float64) error {
	if rate <= 0 || rate > mostRate {
		return &OptionError{"rate", fmt.Sprint(rate), fmt.Sprintf("more than 0, to %d a second", mostRate)}
	}
	return nil
}

// Latency measures one-task runs that arrive at a fixed rate. A run's time is
// counted from the moment that it was due.
func Latency(ctx context.Context, o *Options, rate float64) (*Result, error) {
	if err := checkRate(rate); err != nil {
		return nil, err
	}
	r := o.result("latency", map[string]any{"rate": rate, "sticky": o.Sticky})
	ctx, s, err := o.set(ctx, nil, oneTask("latency", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	if o.Warmup > 0 {
		o.progress(0, "latency: warming up")
		(&openLoop{stage: s, rate: rate, senders: senders}).run(ctx, o.Warmup, openWindow)
	}
	o.progress(0, "latency")
	l := &openLoop{stage: s, rate: rate, senders: senders}
	from := measureUsage(o.Target.PIDs)
	due, missing := l.run(ctx, o.Duration, openWindow)
	r.Figures = l.figures(from, measureUsage(o.Target.PIDs), o.Duration.Seconds())
	r.NodesRSS = residentBytes(o.Target.PIDs)
	r.set("due_runs", float64(due))
	r.set("unfinished_runs", float64(missing))
	r.warnings()
	return r, ctx.Err()
}
