package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
)

// evidence is what workers see while nodes die.
type evidence struct {
	mu sync.Mutex
	// assigned is when assignments came, and when their runs were due.
	assigned []assignment
	tasks    map[string]*taskSeen
	doubled  int64 // given out although another execution was under way or done
	again    int64 // the same attempt was sent to its worker twice; it ran once
	moved    int64 // a later attempt
}

type assignment struct{ at, due time.Time }

type taskSeen struct {
	worker    string
	attempt   int32
	completed bool
}

// see notes an assignment and reports whether it is to be executed.
func (e *evidence) see(w *worker, a *compat.AssignedAction) bool {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.tasks[a.GetTaskRunExternalId()]
	switch {
	case seen == nil:
		e.tasks[a.GetTaskRunExternalId()] = &taskSeen{worker: w.id, attempt: a.GetRetryCount()}
	case seen.completed && (seen.attempt != a.GetRetryCount() || seen.worker != w.id):
		e.doubled++
		return false
	case seen.attempt == a.GetRetryCount() && seen.worker == w.id:
		e.again++
		return false
	case seen.attempt == a.GetRetryCount():
		e.doubled++
		return false
	default:
		e.moved++
		seen.worker, seen.attempt = w.id, a.GetRetryCount()
	}
	due, err := strconv.ParseInt(textAfter(a.GetActionPayload(), `"due":`), 10, 64)
	if err == nil {
		e.assigned = append(e.assigned, assignment{now, time.Unix(0, due)})
	}
	return true
}

// completed notes that a report was taken. A report of an earlier attempt is
// taken too, and means nothing.
func (e *evidence) completed(a *compat.AssignedAction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if seen := e.tasks[a.GetTaskRunExternalId()]; seen != nil && seen.attempt == a.GetRetryCount() {
		seen.completed = true
	}
}

// outage is what one kill did: the longest time without any assignment, and the
// time until a run that became due after the kill was assigned.
func (e *evidence) outage(kill, until time.Time) (gap, first time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last, found := kill, false
	sorted := slices.SortedFunc(slices.Values(e.assigned), func(a, b assignment) int { return a.at.Compare(b.at) })
	for _, a := range sorted {
		if a.at.Before(kill) || a.at.After(until) {
			continue
		}
		gap = max(gap, a.at.Sub(last))
		last = a.at
		if !found && a.due.After(kill) {
			first, found = a.at.Sub(kill), true
		}
	}
	if !found {
		first = until.Sub(kill)
	}
	return max(gap, until.Sub(last)), first
}

// FailoverPlan is how often and how fast nodes die.
type FailoverPlan struct {
	Kills  int
	Rate   float64
	Down   time.Duration // from the kill until the node is started again
	Settle time.Duration // from then until the next kill
}

func (p *FailoverPlan) check(c Cluster) error {
	const most = 10_000
	switch {
	case c == nil:
		return &OptionError{"self-cluster", "0", "3 or 5: only nodes of its own can be killed"}
	case p.Kills < 1 || p.Kills > most:
		return &OptionError{"kills", fmt.Sprint(p.Kills), fmt.Sprintf("1 to %d", most)}
	case p.Down <= 0:
		return &OptionError{"down", p.Down.String(), "more than 0s"}
	case p.Settle <= 0:
		return &OptionError{"settle", p.Settle.String(), "more than 0s"}
	}
	return checkRate(p.Rate)
}

// Failover kills the leader again and again under a load at a fixed rate.
func Failover(ctx context.Context, o *Options, c Cluster, p FailoverPlan) (*Result, error) {
	if err := p.check(c); err != nil {
		return nil, err
	}
	r := o.result("failover", map[string]any{"kills": p.Kills, "rate": p.Rate, "down": p.Down.String(), "settle": p.Settle.String()})
	seen := &evidence{tasks: map[string]*taskSeen{}}
	ctx, s, err := o.set(ctx, func(spec *fleetSpec) {
		spec.onAssigned, spec.onCompleted, spec.reporters = seen.see, seen.completed, senders
	}, oneTask("failover", o.Sticky))
	if err != nil {
		return nil, err
	}
	defer s.close(ctx)
	const giveUp, forEver, patience = 30 * time.Second, 24 * time.Hour, time.Minute
	l := &openLoop{stage: s, rate: p.Rate, senders: senders, retry: giveUp, input: dated(o.input())}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	from := measureUsage(nil)
	var missing int64
	var load sync.WaitGroup
	load.Go(func() { _, missing = l.runUntil(ctx, loading, forEver, patience) })
	kills, err := p.kill(ctx, o, c)
	stop()
	load.Wait()
	if err != nil {
		return nil, err
	}
	to := measureUsage(nil)
	r.Figures = l.figures(from, to, to.at.Sub(from.at).Seconds())
	seen.sum(r, kills)
	r.set("lost_runs", float64(missing))
	r.set("not_accepted_runs", float64(l.sent.Load()-l.accepted.Load()))
	r.set("broken_streams", float64(s.fleet.breaks.Load()+s.watch.breaks.Load()))
	return r, nil
}

// killed is one kill, and until when its effects are looked for.
type killed struct{ at, until time.Time }

func (p *FailoverPlan) kill(ctx context.Context, o *Options, c Cluster) ([]killed, error) {
	var out []killed
	pause(ctx, p.Settle)
	for i := range p.Kills {
		o.progress(float64(i)/float64(p.Kills), fmt.Sprintf("kill %d of %d", i+1, p.Kills))
		n, err := c.Leader(ctx)
		if err != nil {
			return nil, err
		}
		at := time.Now()
		if err := c.Kill(n); err != nil {
			return nil, err
		}
		pause(ctx, p.Down)
		if err := c.Start(ctx, n); err != nil {
			return nil, err
		}
		pause(ctx, p.Settle)
		out = append(out, killed{at, time.Now()})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sum adds up the outages.
func (e *evidence) sum(r *Result, kills []killed) {
	var gaps, firsts Histogram
	for i, k := range kills {
		gap, first := e.outage(k.at, k.until)
		gaps.Record(gap)
		firsts.Record(first)
		r.Series = append(r.Series, Point{Second: float64(i + 1), GapMS: ms(gap), FirstMS: ms(first)})
	}
	const p50, p90, p99 = 0.5, 0.9, 0.99
	for name, h := range map[string]*Histogram{"gap": &gaps, "first_assignment": &firsts} {
		r.set(name+"_p50_ms", ms(h.Quantile(p50)))
		r.set(name+"_p90_ms", ms(h.Quantile(p90)))
		r.set(name+"_p99_ms", ms(h.Quantile(p99)))
		r.set(name+"_max_ms", ms(h.Max()))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.set("doubled_tasks", float64(e.doubled))
	r.set("sent_again_tasks", float64(e.again))
	r.set("later_attempts", float64(e.moved))
}

// dated gives inputs that say when their run was due.
func dated(input string) func(time.Time) string {
	rest := strings.TrimPrefix(input, "{")
	if rest != "}" {
		rest = "," + rest
	}
	return func(due time.Time) string { return `{"due":` + strconv.FormatInt(due.UnixNano(), 10) + rest }
}

// textAfter is the number or the text that follows a mark in JSON, "" if there
// is none.
func textAfter(text, mark string) string {
	_, rest, ok := strings.Cut(text, mark)
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(rest, " ")
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		word, _, _ := strings.Cut(quoted, `"`)
		return word
	}
	if i := strings.IndexAny(rest, " ,}]"); i >= 0 {
		return rest[:i]
	}
	return rest
}
