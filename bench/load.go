package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// window counts what happens between two moments.
type window struct {
	hist   Histogram
	open   atomic.Bool
	runs   atomic.Int64
	failed atomic.Int64
	errs   tally
	from   usage
	to     usage
	pids   []int
}

func (w *window) begin() {
	w.from = measureUsage(w.pids)
	w.open.Store(true)
}

func (w *window) end() {
	if w.open.Swap(false) {
		w.to = measureUsage(w.pids)
	}
}

// record counts the end of a run that was due at some moment.
func (w *window) record(ok bool, took time.Duration) {
	w.hist.Record(took)
	w.runs.Add(1)
	if !ok {
		w.failed.Add(1)
	}
}

func (w *window) figures() Figures {
	f := Figures{Runs: w.runs.Load(), Failed: w.failed.Load(), Errors: w.errs.snapshot(), Seconds: w.to.at.Sub(w.from.at).Seconds()}
	if f.Seconds > 0 {
		f.RunsPerSecond = float64(f.Runs) / f.Seconds
	}
	f.latency(&w.hist)
	f.costs(w.from, w.to)
	f.NodesRSS = residentBytes(w.pids)
	return f
}

// closedLoop keeps so many runs in flight: whoever has the result of one
// triggers the next.
type closedLoop struct {
	stage    *stage
	window   *window
	flow     string
	label    string
	duration time.Duration
	runs     int64
	batch    int // runs of one call, 1 for single triggers
	tickets  atomic.Int64
	stopped  atomic.Bool
}

// closed drives the stage's workflow in a closed loop and gives what was
// measured after the warm-up.
func (s *stage) closed(ctx context.Context, label string, batch int) (Figures, error) {
	l := &closedLoop{
		stage: s, window: &window{pids: s.Target.PIDs}, flow: s.flow.name, label: label, batch: batch,
		duration: s.Duration, runs: int64(s.Runs),
	}
	return l.run(ctx)
}

func (l *closedLoop) run(ctx context.Context) (Figures, error) {
	callers := max(l.stage.Outstanding/l.batch, 1)
	errs := make(chan error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			if err := l.call(ctx, i); err != nil {
				l.stopped.Store(true)
				errs <- err
			}
		})
	}
	l.keepTime(ctx)
	group.Wait()
	l.window.end()
	close(errs)
	if err := <-errs; err != nil {
		return Figures{}, err
	}
	if err := ctx.Err(); err != nil {
		return Figures{}, err
	}
	return l.window.figures(), nil
}

// keepTime opens and closes the window and says how far it is.
func (l *closedLoop) keepTime(ctx context.Context) {
	const tick = 200 * time.Millisecond
	defer l.stopped.Store(true)
	if l.stage.Warmup > 0 {
		l.stage.progress(0, l.label+": warming up")
		pause(ctx, l.stage.Warmup)
	}
	l.window.begin()
	for start := time.Now(); !l.stopped.Load() && ctx.Err() == nil; {
		share := float64(time.Since(start)) / float64(l.duration)
		if l.runs > 0 {
			share = float64(l.window.runs.Load()) / float64(l.runs)
		}
		l.stage.progress(share, l.label)
		if l.runs == 0 && time.Since(start) >= l.duration {
			l.window.end()
			return
		}
		wait := tick
		if l.runs == 0 {
			wait = min(tick, l.duration-time.Since(start))
		}
		pause(ctx, wait)
		if l.runs > 0 && l.tickets.Load() > l.runs {
			return // the window ends with the last run
		}
	}
}

// call triggers one batch after another and waits for the results of each.
func (l *closedLoop) call(ctx context.Context, n int) error {
	t := newTrigger(l.stage, l.flow, l.batch, n)
	ends := make(signal, l.batch)
	for !l.stopped.Load() && ctx.Err() == nil {
		measured := l.window.open.Load()
		if measured && l.runs > 0 && l.tickets.Add(int64(l.batch)) > l.runs+int64(l.batch)-1 {
			return nil
		}
		begin := time.Now()
		ids, err := t.send(ctx)
		if err != nil {
			if err = l.excused(ctx, err); err != nil {
				return err
			}
			continue
		}
		for _, id := range ids {
			l.stage.watch.add(n, id, ends)
		}
		for range ids {
			select {
			case <-ctx.Done():
				return nil
			case end := <-ends:
				if l.window.open.Load() && (measured || l.runs == 0) {
					l.window.record(end.ok, end.at.Sub(begin))
				}
			}
		}
	}
	return nil
}

// excused counts an error, and gives it back unless the loop may go on.
func (l *closedLoop) excused(ctx context.Context, err error) error {
	l.window.errs.add(err)
	switch {
	case l.stopped.Load(), over(ctx):
		return nil
	case passing(err):
		pause(ctx, reportPause)
		return nil
	default:
		return err
	}
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

// trigger starts runs with messages that are made once.
type trigger struct {
	wire *wire
	node int
	one  *compatv1.TriggerWorkflowRequest
	bulk int
	ids  []string
	many bulkRequest
}

func newTrigger(s *stage, flow string, batch, node int) *trigger {
	t := &trigger{wire: s.wire, node: node, one: &compatv1.TriggerWorkflowRequest{Name: flow, Input: s.input()}, bulk: batch, ids: make([]string, 1)}
	if batch > 1 {
		t.many = newBulkRequest(t.one, batch)
	}
	return t
}

func (t *trigger) send(ctx context.Context) ([]string, error) {
	if t.bulk > 1 {
		return t.many.send(ctx, t.wire.triggers(t.node))
	}
	res, err := t.wire.triggers(t.node).TriggerWorkflow(ctx, t.one)
	if err != nil {
		t.node++ // another node may do better
		return nil, err
	}
	t.ids[0] = res.GetWorkflowRunId()
	return t.ids, nil
}
