package bench

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Options are what all workloads share.
type Options struct {
	Target   Target
	Workers  int
	Payload  int // bytes of the input of a run
	Duration time.Duration
	Warmup   time.Duration
	Sticky   string
	// Runs, if not 0, ends a measurement after so many runs instead of after Duration.
	Runs int
	// Outstanding is how many runs, or calls, are in flight at once.
	Outstanding int
	// Progress is told how far a workload is, 0 to 1. Nil tells nobody.
	Progress func(share float64, text string)
}

// Check says which option is wrong.
func (o *Options) Check() error {
	for _, c := range []struct {
		bad  bool
		name string
		got  any
		want string
	}{
		{o.Workers < 1 || o.Workers > maxWorkers, "workers", o.Workers, fmt.Sprintf("1 to %d", maxWorkers)},
		{o.Payload < 0 || o.Payload > maxPayload, "payload", o.Payload, fmt.Sprintf("0 to %d bytes", maxPayload)},
		{o.Duration <= 0, "duration", o.Duration, "more than 0s"},
		{o.Warmup < 0, "warmup", o.Warmup, "0s or more"},
		{o.Runs < 0, "runs", o.Runs, "0 (for --duration) or more"},
		{o.Outstanding < 1 || o.Outstanding > maxOutstanding, "outstanding", o.Outstanding, fmt.Sprintf("1 to %d", maxOutstanding)},
		{o.Sticky != "none" && o.Sticky != "soft" && o.Sticky != "hard", "sticky", o.Sticky, "none, soft or hard"},
	} {
		if c.bad {
			return &OptionError{c.name, fmt.Sprint(c.got), c.want}
		}
	}
	return nil
}

const (
	maxPayload     = 3 << 20
	maxOutstanding = 100_000
	maxWorkers     = 100_000
)

// OptionError is an option with a value that is not allowed.
type OptionError struct{ Option, Got, Want string }

// Error names the option, its value and what is allowed.
func (e *OptionError) Error() string {
	return fmt.Sprintf("--%s is %q: must be %s", e.Option, e.Got, e.Want)
}

func (o *Options) progress(share float64, text string) {
	if o.Progress != nil {
		o.Progress(min(max(share, 0), 1), text)
	}
}

// result begins what a workload gives.
func (o *Options) result(workload string, params map[string]any) *Result {
	all := map[string]any{"workers": o.Workers, "payload": o.Payload}
	maps.Copy(all, params)
	return &Result{Workload: workload, Target: o.Target.Name, At: time.Now().UTC(), Machine: thisMachine(), Params: all}
}

// input is the input of a run: a JSON object of at least so many bytes.
func (o *Options) input() string {
	const around = len(`{"p":""}`)
	if o.Payload <= around {
		return "{}"
	}
	return `{"p":"` + strings.Repeat("x", o.Payload-around) + `"}`
}

// stage is a target with a workflow registered, workers attached and streams of
// results open.
type stage struct {
	*Options
	wire  *wire
	flow  workflow
	fleet *fleet
	watch *watch
	stop  context.CancelFunc
}

// newName makes a name that no earlier measurement has used.
func newName(kind string) string {
	const short = 8
	return "bench-" + kind + "-" + uuid.NewString()[:short]
}

// oneTask is the workflow of most workloads.
func oneTask(kind, sticky string) workflow {
	return workflow{name: newName(kind), sticky: sticky, tasks: []task{{name: "task"}}}
}

// set prepares a stage: the first of the workflows is the one that is driven.
// The context that it gives carries the token; close ends it.
func (o *Options) set(ctx context.Context, adjust func(*fleetSpec), flows ...workflow) (context.Context, *stage, error) {
	w, err := dial(o.Target)
	if err != nil {
		return ctx, nil, err
	}
	ctx, stop := context.WithCancel(w.authorize(ctx))
	s := &stage{Options: o, wire: w, flow: flows[0], stop: stop}
	const fewest, most = 8, 2048
	spec := fleetSpec{reporters: min(max(o.Outstanding*len(s.flow.tasks), fewest), most)}
	for _, f := range flows {
		spec.actions = append(spec.actions, f.actions()...)
	}
	if adjust != nil {
		adjust(&spec)
	}
	// Workers offer about what they can begin at once, as real ones do: what is
	// assigned beyond that would wait here and not where it is measured.
	spec.slots = 2 * (spec.reporters + o.Workers - 1) / o.Workers
	s.fleet = newFleet(ctx, w, spec)
	if err = w.register(ctx, flows...); err == nil {
		if err = s.fleet.attach(ctx, o.Workers); err == nil {
			s.watch, err = newWatch(ctx, w)
		}
	}
	if err != nil {
		s.close(ctx)
		return ctx, nil, err
	}
	return ctx, s, nil
}

// close signs the workers off and ends all.
func (s *stage) close(ctx context.Context) {
	s.fleet.leave(context.WithoutCancel(ctx))
	s.stop()
	s.fleet.work.Wait()
	if s.watch != nil {
		s.watch.done.Wait()
	}
	s.wire.Close()
}
