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

// rolling: all nodes are restarted, one after the other, and then all workers,
// which are under agents, while runs come all the time.
func rolling(ctx context.Context, l *lab, times int) (string, error) {
	// It registers the workflows and goes, as it must not do any of the work.
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	const agents, slots = 3, 20
	var workers []*worker
	for i := range agents {
		w, err := l.startWorker("agent", "gpu-"+strconv.Itoa(i), "gpu-"+strconv.Itoa(i), slots)
		if err != nil {
			return "", err
		}
		workers = append(workers, w)
		if _, err := l.live(ctx, w.name); err != nil {
			return "", err
		}
	}
	first := l.procs[1] // the witness
	first.signal(syscall.SIGTERM)
	<-first.done
	load := l.startLoad(ctx)
	var err error
	for range times {
		if err = l.restartNodes(ctx); err != nil {
			break
		}
		for i := 0; err == nil && i < len(workers); i++ {
			workers[i], err = l.restartWorker(ctx, workers[i], slots)
		}
	}
	hard, soft, failed := load.stop()
	err = errors.Join(err, failed, l.endedOnce())
	return fmt.Sprintf("%d HARD and %d SOFT runs of %d tasks while 3 nodes and 3 agents were restarted %d times: none failed, no HARD run moved, nothing ran twice", hard, soft, steps, times), err
}

func (l *lab) restartNodes(ctx context.Context) error {
	for n := range nodes {
		if err := l.stopNode(ctx, n, syscall.SIGTERM); err != nil {
			return err
		}
		if err := l.startNode(ctx, n); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) restartWorker(ctx context.Context, w *worker, slots int) (*worker, error) {
	before, err := l.live(ctx, w.name)
	if err != nil {
		return w, err
	}
	w.signal(syscall.SIGTERM)
	select {
	case <-w.done:
	case <-time.After(time.Minute):
		return w, fmt.Errorf("the agent of %s did not stop", w.name)
	}
	if w.err != nil {
		return w, fmt.Errorf("the agent of %s: %w", w.name, w.err)
	}
	if w, err = l.startWorker("agent", w.name, w.name, slots); err != nil {
		return w, err
	}
	after, err := l.live(ctx, w.name)
	if err != nil {
		return w, err
	}
	if before.GetId() != after.GetId() {
		return w, fmt.Errorf("%s was worker %s and is %s", w.name, before.GetId(), after.GetId())
	}
	return w, sleep(ctx, 2*time.Second)
}

// load is runs that are started all the time.
type load struct {
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	mu         sync.Mutex
	hard, soft int
	errs       []error
}

func (l *lab) startLoad(ctx context.Context) *load {
	const every, step = 60 * time.Millisecond, 40
	run, cancel := context.WithCancel(ctx)
	o := &load{cancel: cancel}
	o.wg.Go(func() {
		for i := 0; sleep(run, every) == nil; i++ {
			hard := i%2 == 0
			flow := l.flows.loose
			if hard {
				flow = l.flows.chain
			}
			o.mu.Lock()
			if hard {
				o.hard++
			} else {
				o.soft++
			}
			o.mu.Unlock()
			o.wg.Go(func() {
				if err := runOnce(ctx, flow, hold{step, step}, hard); err != nil {
					o.mu.Lock()
					o.errs = append(o.errs, err)
					o.mu.Unlock()
				}
			})
		}
	})
	return o
}

// runOnce runs a chain and looks where its tasks were.
func runOnce(ctx context.Context, flow *limpet.Workflow[hold], in hold, hard bool, opts ...limpet.RunOption) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	res, err := flow.Run(ctx, in, opts...)
	if err != nil {
		return err
	}
	var at ran
	for i := range steps {
		var out ran
		if err := res.Into("s"+strconv.Itoa(i), &out); err != nil {
			return err
		}
		if hard && i > 0 && out.Worker != at.Worker {
			return fmt.Errorf("HARD run %s was at worker %s and at %s", res.RunID, at.Worker, out.Worker)
		}
		at = out
	}
	return nil
}

func (o *load) stop() (hard, soft int, err error) {
	o.cancel()
	o.wg.Wait()
	const shown = 5
	n := len(o.errs)
	err = errors.Join(o.errs[:min(n, shown)]...)
	if n > 0 {
		err = fmt.Errorf("%d runs failed, among them: %w", n, err)
	}
	return o.hard, o.soft, err
}

// endedOnce looks into what the workers wrote for a task that was done twice.
func (l *lab) endedOnce() error {
	l.evidence.update()
	ends := map[string]int{}
	for _, e := range l.evidence.all(func(e line) bool { return e.Kind == "end" }) {
		ends[e.TaskRun]++
		if ends[e.TaskRun] > 1 {
			return fmt.Errorf("task run %s (%s of run %s) was done twice", e.TaskRun, e.Task, e.Run)
		}
	}
	return nil
}
