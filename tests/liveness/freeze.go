package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

func stopChild(_ *worker, pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) }

// freezes: a worker's process is frozen for good in the middle of a SOFT task.
func freezes(ctx context.Context, l *lab, times int) (string, error) {
	const aim = leaseTTL + time.Second
	kinds := []victim{
		{"program under an agent", "agent", aim, stopChild, false, nil},
		{"Go SDK", "sdk", aim, stopChild, false, nil},
		{"direct", "plain", aim, stopChild, false, nil},
	}
	const atOnce = 10
	return l.loseEach(ctx, kinds, (times+atOnce-1)/atOnce, func(ctx context.Context, v victim, s *samples, i int) error {
		errs := make([]error, min(atOnce, times-i*atOnce))
		var wg sync.WaitGroup
		for j := range errs {
			wg.Go(func() { errs[j] = l.loseOnce(ctx, v, s, v.slug()+"-"+strconv.Itoa(i)+"-"+strconv.Itoa(j)) })
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

// thaws: a worker is frozen for 20 s in the middle of ten tasks, and goes on as
// if nothing had been. What it has to say about its old attempts is refused.
func thaws(ctx context.Context, l *lab, times int) (string, error) {
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	const tasks, frozen = 10, 20 * time.Second
	fenced := 0
	for i := range times {
		for _, kind := range []string{"sdk", "plain"} {
			before, err := l.fenced(ctx)
			if err != nil {
				return "", err
			}
			if err := l.thaw(ctx, kind, kind+"-"+strconv.Itoa(i), tasks, frozen); err != nil {
				return "", fmt.Errorf("%s, time %d: %w", kind, i+1, err)
			}
			after, err := l.fenced(ctx)
			if err != nil {
				return "", err
			}
			fenced += after - before
		}
	}
	return fmt.Sprintf("%d tasks of %d workers frozen for %s: all done once, elsewhere, results right; %d late reports refused", tasks*2*times, 2*times, frozen, fenced), nil
}

func (l *lab) thaw(ctx context.Context, kind, name string, tasks int, frozen time.Duration) error {
	w, err := l.startWorker(kind, name, "", tasks)
	if err != nil {
		return err
	}
	defer w.kill()
	info, err := l.live(ctx, name)
	if err != nil {
		return err
	}
	const work = 3 * time.Second
	runs := make([]*limpet.RunRef, tasks)
	for i := range runs {
		if runs[i], err = l.flows.soft.RunNoWait(ctx, hold{work.Milliseconds(), work.Milliseconds()}, limpet.WithRunWorker(info.GetId())); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if _, err := l.evidence.begun(ctx, frozen, r.ID(), 0); err != nil {
			return err
		}
	}
	w.signal(syscall.SIGSTOP)
	if err := sleep(ctx, frozen); err != nil {
		return err
	}
	w.signal(syscall.SIGCONT)
	for _, r := range runs {
		if err := l.ends(ctx, r); err != nil {
			return err
		}
		// Its first attempt goes on to its end too, or was told to stop.
		_, err := l.evidence.await(ctx, frozen, "the end of the thawed attempt of run "+r.ID(), func(e line) bool {
			return e.Run == r.ID() && e.Attempt == 0 && e.Worker == info.GetId() && e.Kind != "begin"
		})
		if err != nil {
			return err
		}
		res, err := r.Result(ctx)
		if err != nil {
			return err
		}
		var out ran
		if err := res.Into("hold", &out); err != nil {
			return err
		}
		if out.Worker == info.GetId() || out.Attempt == 0 {
			return fmt.Errorf("run %s: the attempt %d of the frozen worker was accepted", r.ID(), out.Attempt)
		}
	}
	return nil
}
