package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
)

// crowd is many workers of the Go SDK in this process.
type crowd struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   []error
}

// gather starts them, one at every pace: all members are told of each that joins.
func (l *lab) gather(ctx context.Context, n int, pace time.Duration, opts ...limpet.WorkerOption) (*crowd, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{cancel: cancel}
	const atOnce = 8
	gate := make(chan struct{}, atOnce)
	for i := range n {
		name := "crowd-" + strconv.Itoa(i)
		cl, err := limpet.New(limpet.WithToken(l.token), limpet.WithEndpoints(l.addrs()...), limpet.WithLogger(silent()))
		if err != nil {
			cancel()
			return nil, err
		}
		flows := declare(cl, nil)
		w, err := limpet.NewWorker(cl, name, append([]limpet.WorkerOption{limpet.WithWorkflows(flows.both), limpet.WithSlots(2), limpet.WithDrainTimeout(0)}, opts...)...)
		if err != nil {
			cancel()
			return nil, err
		}
		gate <- struct{}{}
		_ = sleep(ctx, pace)
		c.wg.Go(func() {
			go func() {
				_ = until(ctx, time.Minute, name, func() bool { return w.ID() != "" })
				<-gate
			}()
			if err := w.Run(ctx); err != nil {
				c.mu.Lock()
				c.errs = append(c.errs, fmt.Errorf("%s: %w", name, err))
				c.mu.Unlock()
			}
			_ = cl.Close()
		})
	}
	return c, nil
}

func (c *crowd) close() error {
	c.cancel()
	c.wg.Wait()
	return errors.Join(c.errs...)
}

// elections: the leader is killed while many workers are attached, and at the
// moment at which one more attaches and another one drains.
func elections(ctx context.Context, l *lab, times int) (string, error) {
	n := l.options.workers
	if n == 0 {
		n = 200
	}
	crowd, err := l.gather(ctx, n, 0, limpet.WithoutGossip())
	if err != nil {
		return "", err
	}
	defer func() { _ = crowd.close() }()
	gap, attach := &samples{}, &samples{}
	for i := range times {
		if err := l.electionOnce(ctx, n, strconv.Itoa(i), gap, attach); err != nil {
			return "", fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	return fmt.Sprintf("%d leaders killed with %d workers attached, one attaching, one draining: no lease of a live worker lost; new leader %s; worker attached %s",
		times, n, gap, attach), nil
}

func (l *lab) electionOnce(ctx context.Context, n int, round string, gap, attach *samples) error {
	const patience = time.Minute
	var before map[string]*limpetv1.WorkerInfo
	err := until(ctx, patience, fmt.Sprintf("%d live workers", n), func() bool {
		all, err := l.workers(ctx)
		before = crowdOf(all)
		return err == nil && len(before) == n
	})
	if err != nil {
		return err
	}
	leaver, err := l.startWorker("sdk", "leaver-"+round, "", 2)
	if err != nil {
		return err
	}
	if _, err := l.live(ctx, leaver.name); err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	pid := l.nodePid(leader)
	comer, err := l.startWorker("sdk", "comer-"+round, "", 2)
	if err != nil {
		return err
	}
	defer comer.kill()
	began := time.Now()
	leaver.signal(syscall.SIGTERM)
	// Its process takes some milliseconds to come to the call.
	if err := sleep(ctx, time.Duration(len(gap.all)%10)*10*time.Millisecond); err != nil {
		return err
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill node-%d: %w", leader+1, err)
	}
	if _, err := l.leader(ctx); err != nil {
		return err
	}
	gap.add(time.Since(killed))
	if _, err := l.live(ctx, comer.name); err != nil {
		return err
	}
	attach.add(time.Since(began))
	select {
	case <-leaver.done:
		if leaver.err != nil {
			return fmt.Errorf("the draining worker ended with %w", leaver.err)
		}
	case <-time.After(patience):
		return errors.New("the draining worker did not come to an end")
	}
	if err := l.startNode(ctx, leader); err != nil {
		return err
	}
	// Longer than a suspected worker is given.
	if err := sleep(ctx, leaseGrace+time.Second); err != nil {
		return err
	}
	return l.sameLeases(ctx, before)
}

// sameLeases compares the leases of the crowd with those of an earlier moment.
func (l *lab) sameLeases(ctx context.Context, before map[string]*limpetv1.WorkerInfo) error {
	all, err := l.workers(ctx)
	if err != nil {
		return err
	}
	after := crowdOf(all)
	for id, w := range before {
		if a := after[id]; a == nil || a.GetEpoch() != w.GetEpoch() {
			return fmt.Errorf("worker %s (%s) lost its lease: %s", w.GetName(), id, all[id].GetReason())
		}
	}
	return nil
}

// crowdOf gives those of the crowd that hold their lease.
func crowdOf(all map[string]*limpetv1.WorkerInfo) map[string]*limpetv1.WorkerInfo {
	out := map[string]*limpetv1.WorkerInfo{}
	for id, w := range all {
		if w.GetLease() == "live" && len(w.GetName()) > len("crowd-") && w.GetName()[:len("crowd-")] == "crowd-" {
			out[id] = w
		}
	}
	return out
}
