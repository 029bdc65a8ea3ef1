package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
)

// BacklogPlan says how many runs wait while the live load is measured.
type BacklogPlan struct {
	Parked []int
	Absent int // workers that they wait for
	// Turns, if not 0, measures each number beside the first so often in turns, on
	// targets of their own: what else the machine does, and how it is loaded from one
	// minute to the next, falls on both. One more turn goes before and does not count.
	Turns int
	// Another brings up one more target for Turns, and says how to end it. Nil if
	// that is not possible.
	Another func(context.Context) (Target, func(), error)
}

const (
	mostParked = 10_000_000
	mostAbsent = 10_000
	mostTurns  = 1000
)

func (p *BacklogPlan) check() error {
	if err := checkCounts("parked", p.Parked, 0, mostParked); err != nil {
		return err
	}
	switch {
	case p.Absent < 1 || p.Absent > mostAbsent:
		return &OptionError{"absent", fmt.Sprint(p.Absent), fmt.Sprintf("1 to %d", mostAbsent)}
	case p.Turns < 0 || p.Turns > mostTurns:
		return &OptionError{"turns", fmt.Sprint(p.Turns), fmt.Sprintf("0 (no turns) to %d", mostTurns)}
	case p.Turns > 0 && p.Another == nil:
		return &OptionError{"turns", fmt.Sprint(p.Turns), "0, unless with --self-cluster or --target self, and without --compare: every number has a cluster of its own"}
	case p.Turns > 0 && len(p.Parked) == 1:
		return &OptionError{"parked", fmt.Sprint(p.Parked), "two numbers or more with --turns"}
	}
	return nil
}

// Backlog measures a live load while so many HARD runs wait for workers that
// are gone: once for each of the counts, or in turns.
func Backlog(ctx context.Context, o *Options, p BacklogPlan) (*Result, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	params := map[string]any{"outstanding": o.Outstanding, "absent": p.Absent, "sticky": o.Sticky}
	if p.Turns > 0 {
		params["turns"] = p.Turns
	}
	r := o.result("backlog", params)
	first, err := o.backlog(ctx, p.Absent)
	if err != nil {
		return nil, err
	}
	defer first.close()
	if p.Turns > 0 {
		r.Phases, err = first.turns(ctx, &p)
	} else {
		r.Phases, err = first.row(p.Parked)
	}
	if err != nil {
		return nil, err
	}
	r.ends()
	return r, nil
}

// backlog is a target with runs that wait for workers which are gone.
type backlog struct {
	*stage
	ctx    context.Context //nolint:containedctx // carries the token of its target
	flow   string
	gone   []string
	have   int
	label  string  // of the phase in which they wait
	before []int64 // resident memory of the nodes when nothing waited
}

func (o *Options) backlog(ctx context.Context, absent int) (*backlog, error) {
	hard := oneTask("parked", "hard")
	ctx, s, err := o.set(ctx, nil, oneTask("live", o.Sticky))
	if err != nil {
		return nil, err
	}
	b := &backlog{stage: s, ctx: ctx, flow: hard.name}
	if err = s.wire.register(ctx, hard); err == nil {
		b.gone, err = s.vanished(ctx, hard, absent)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	b.before = residentBytes(o.Target.PIDs)
	return b, nil
}

func (b *backlog) measure(label string) (Figures, error) { return b.closed(b.ctx, label, 1) }

func (b *backlog) close() { b.stage.close(b.ctx) }

// fill parks runs until there are n, and gives the phase in which they wait.
func (b *backlog) fill(n int) (Phase, error) {
	p := Phase{Label: fmt.Sprintf("%d parked", n), X: float64(n)}
	begin := time.Now()
	if err := b.park(b.ctx, b.flow, b.gone, b.have, n); err != nil {
		return p, fmt.Errorf("park runs: %w", err)
	}
	if n > b.have {
		p.set("parked_per_second", float64(n-b.have)/time.Since(begin).Seconds())
	}
	if nodes := len(b.before); n > 0 && nodes > 0 && sum(b.before) > 0 {
		after := residentBytes(b.Target.PIDs)
		p.set("bytes_per_parked_run_and_node", float64(sum(after)-sum(b.before))/float64(n*nodes))
	}
	b.have, b.label = n, p.Label
	return p, nil
}

// row measures one number after the other.
func (b *backlog) row(parked []int) ([]Phase, error) {
	var phases []Phase
	for _, n := range parked {
		p, err := b.fill(n)
		if err != nil {
			return nil, err
		}
		f, err := b.measure(p.Label)
		if err != nil {
			return nil, err
		}
		p.take(&f)
		phases = append(phases, p)
	}
	return phases, nil
}

// turns measures each number but the first in turns with it.
func (b *backlog) turns(ctx context.Context, p *BacklogPlan) ([]Phase, error) {
	first, err := b.fill(p.Parked[0])
	if err != nil {
		return nil, err
	}
	var all []*Figures
	phases := []Phase{first}
	for _, n := range p.Parked[1:] {
		phase, mine, err := b.beside(ctx, p, n)
		if err != nil {
			return nil, err
		}
		phases, all = append(phases, phase), append(all, mine...)
	}
	phases[0].take(medianTurn(all))
	return phases, nil
}

// beside measures a number on a target of its own, in turns with the first: its
// phase, and the figures of the first.
func (b *backlog) beside(ctx context.Context, p *BacklogPlan, n int) (Phase, []*Figures, error) {
	target, end, err := p.Another(ctx)
	if err != nil {
		return Phase{}, nil, err
	}
	defer end()
	o := *b.Options
	o.Target = target
	other, err := o.backlog(ctx, p.Absent)
	if err != nil {
		return Phase{}, nil, err
	}
	defer other.close()
	phase, err := other.fill(n)
	if err != nil {
		return Phase{}, nil, err
	}
	figures := map[*backlog][]*Figures{}
	order := []*backlog{b, other}
	for turn := range p.Turns + 1 { // the first does not count: heaps reach their size in it
		for _, x := range order {
			f, err := x.measure(fmt.Sprintf("%s, turn %d of %d", x.label, turn, p.Turns))
			if err != nil {
				return Phase{}, nil, err
			}
			if turn > 0 {
				figures[x] = append(figures[x], &f)
			}
		}
		slices.Reverse(order) // who goes second may find a warmer machine
	}
	phase.take(medianTurn(figures[other]))
	phase.Ratios = Ratios(figures[b], figures[other])
	return phase, figures[b], nil
}

// medianTurn gives the figures with the median of runs per second; of an even number
// the lower one.
func medianTurn(all []*Figures) *Figures {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *Figures) int { return cmp.Compare(a.RunsPerSecond, b.RunsPerSecond) })
	return sorted[(len(sorted)-1)/2]
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
