package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

// The settings of a cluster that nobody has changed.
const (
	leaseTTL   = 15 * time.Second
	leaseGrace = 5 * time.Second
	// forLong is a task that only ends by being cut.
	forLong = 10 * time.Minute
)

// victim is a way to run a worker and to lose it.
type victim struct {
	name string
	kind string
	aim  time.Duration
	// end takes the worker away: pid is the process that executes its tasks.
	end func(w *worker, pid int)
	// stays: the worker comes back by itself.
	stays bool
	extra []string
}

func killChild(_ *worker, pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
func killAll(w *worker, pid int) {
	_ = syscall.Kill(pid, syscall.SIGKILL)
	w.signal(syscall.SIGKILL)
}

func victims() []victim {
	const soon = 3 * time.Second
	return []victim{
		{"program under an agent", "agent", soon, killChild, true, nil},
		{"program and agent", "agent", soon, killAll, false, nil},
		{"Go SDK", "sdk", soon, killAll, false, nil},
		{"direct", "plain", leaseGrace + time.Second, killAll, false, nil},
	}
}

// kills: a worker's process is killed in the middle of a SOFT task; until the
// task runs elsewhere.
func kills(ctx context.Context, l *lab, times int) (string, error) {
	return l.loseEach(ctx, victims(), times, func(ctx context.Context, v victim, s *samples, i int) error {
		return l.loseOnce(ctx, v, s, v.slug()+"-"+strconv.Itoa(i))
	})
}

func (v victim) slug() string { return strings.ReplaceAll(strings.ToLower(v.name), " ", "-") }

// loseEach loses each kind of worker so often; the kinds go side by side.
func (l *lab) loseEach(ctx context.Context, kinds []victim, times int, once func(context.Context, victim, *samples, int) error) (string, error) {
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	// A new leader ends no lease by silence alone; the cluster has just got one.
	if err := sleep(ctx, leaseTTL); err != nil {
		return "", err
	}
	figures, errs := make([]string, len(kinds)), make([]error, len(kinds))
	var wg sync.WaitGroup
	for k, v := range kinds {
		wg.Go(func() {
			s := &samples{}
			for i := range times {
				if err := once(ctx, v, s, i); err != nil {
					errs[k] = fmt.Errorf("%s, time %d: %w", v.name, i+1, err)
					break
				}
			}
			figures[k] = v.name + ": " + s.String()
			errs[k] = errors.Join(errs[k], l.aim(s, v))
		})
	}
	wg.Wait()
	return strings.Join(figures, "; "), errors.Join(errs...)
}

// witness is the worker where everything can go. It registers the workflows.
func (l *lab) witness(ctx context.Context) error {
	const many = 400
	if _, err := l.startWorker("sdk", "witness", "", many); err != nil {
		return err
	}
	_, err := l.live(ctx, "witness")
	return err
}

// loseOnce starts a worker, gives it a SOFT task and takes it away.
func (l *lab) loseOnce(ctx context.Context, v victim, s *samples, name string) error {
	w, err := l.startWorker(v.kind, name, name, 1, v.extra...)
	if err != nil {
		return err
	}
	defer func() {
		_ = syscall.Kill(-w.pid(), syscall.SIGKILL)
		w.kill()
	}()
	info, err := l.live(ctx, name)
	if err != nil {
		return err
	}
	run, first, err := l.holdAt(ctx, info.GetId())
	if err != nil {
		return err
	}
	at := time.Now()
	v.end(w, w.process(first.Pid))
	const patience = time.Minute
	next, err := l.evidence.begun(ctx, patience, run.ID(), 1)
	if err != nil {
		return err
	}
	if next.Worker == first.Worker {
		return fmt.Errorf("run %s was given to the lost worker %s again", run.ID(), first.Worker)
	}
	s.add(next.At.Sub(at))
	return l.ends(ctx, run)
}

// holdAt starts a SOFT run at a worker and waits until its task has begun there.
func (l *lab) holdAt(ctx context.Context, id string) (*limpet.RunRef, line, error) {
	const patience = 30 * time.Second
	run, err := l.flows.soft.RunNoWait(ctx, hold{forLong.Milliseconds(), 1}, limpet.WithRunWorker(id))
	if err != nil {
		return nil, line{}, err
	}
	first, err := l.evidence.begun(ctx, patience, run.ID(), 0)
	if err != nil {
		return nil, line{}, err
	}
	if first.Worker != id {
		return nil, line{}, fmt.Errorf("run %s was to start at worker %s and began at %s", run.ID(), id, first.Worker)
	}
	return run, first, nil
}

// ends waits for a run of the soft workflow and compares its result with what
// the workers wrote down.
func (l *lab) ends(ctx context.Context, run *limpet.RunRef) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := run.Result(ctx)
	if err != nil {
		return err
	}
	var out ran
	if err := res.Into("hold", &out); err != nil {
		return err
	}
	l.evidence.update()
	who := l.evidence.all(func(e line) bool {
		return e.Kind == "end" && e.Run == run.ID() && e.Worker == out.Worker && e.Attempt == out.Attempt
	})
	if len(who) != 1 {
		return fmt.Errorf("run %s says that attempt %d at worker %s ended it; that wrote down %d ends", run.ID(), out.Attempt, out.Worker, len(who))
	}
	return nil
}
