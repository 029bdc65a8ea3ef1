package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

// outage: no node lives for 30 s. A worker under an agent that would end at the
// first error of any call notices nothing, and its HARD runs go on there.
func outage(ctx context.Context, l *lab, times int) (string, error) {
	const dark, runs, step = 30 * time.Second, 5, 2 * time.Second
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	w, err := l.startWorker("agent", "fragile", "fragile", 2*runs, "--restart", "never")
	if err != nil {
		return "", err
	}
	info, err := l.live(ctx, w.name)
	if err != nil {
		return "", err
	}
	for i := range times {
		load := &load{cancel: func() {}}
		for range runs {
			load.hard++
			load.wg.Go(func() {
				if err := runOnce(ctx, l.flows.chain, hold{step.Milliseconds(), step.Milliseconds()}, true, limpet.WithRunWorker(info.GetId())); err != nil {
					load.mu.Lock()
					load.errs = append(load.errs, err)
					load.mu.Unlock()
				}
			})
		}
		if err := sleep(ctx, step+step/2); err != nil { // in the middle of the second task of each
			return "", err
		}
		for n := range nodes {
			if err := l.stopNode(ctx, n, syscall.SIGKILL); err != nil {
				return "", err
			}
		}
		if err := sleep(ctx, dark); err != nil {
			return "", err
		}
		if err := l.launchNodes(ctx); err != nil {
			return "", err
		}
		if _, _, err := load.stop(); err != nil {
			return "", fmt.Errorf("time %d: %w", i+1, err)
		}
		select {
		case <-w.done:
			return "", fmt.Errorf("time %d: the worker has ended: %w", i+1, w.err)
		default:
		}
		back, err := l.live(ctx, w.name)
		if err != nil {
			return "", err
		}
		if back.GetId() != info.GetId() {
			return "", fmt.Errorf("time %d: worker %s is now %s", i+1, info.GetId(), back.GetId())
		}
	}
	return fmt.Sprintf("%d times no node for %s: the fragile worker's process went on, %d HARD runs of %d tasks ended where they began", times, dark, runs*times, steps), nil
}
