package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	limpet "github.com/limpet-dev/limpet/client"
)

// identities: a worker with an identity is killed in the middle of HARD runs and
// comes back; late completions of its dead process are sent.
func identities(ctx context.Context, l *lab, times int) (string, error) {
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	var text string
	for _, kind := range []string{"agent", "sdk"} {
		s, zombies := &samples{}, 0
		before, err := l.fenced(ctx)
		if err != nil {
			return text, err
		}
		var more []string
		if kind == "agent" {
			more = []string{"--restart-max", "500ms"} // so many kills in a row are not what it is for
		}
		w, err := l.startWorker(kind, kind+"-place", kind+"-place", 10, more...)
		if err != nil {
			return text, err
		}
		info, err := l.live(ctx, kind+"-place")
		if err != nil {
			return text, err
		}
		for i := range times {
			if w, err = l.killAndReturn(ctx, w, kind, info.GetId(), s, &zombies); err != nil {
				return text, fmt.Errorf("%s, time %d: %w", kind, i+1, err)
			}
		}
		after, err := l.fenced(ctx)
		if err != nil {
			return text, err
		}
		if after-before < zombies {
			return text, fmt.Errorf("%s: %d late completions were sent and %d counted as refused", kind, zombies, after-before)
		}
		text += fmt.Sprintf("%s: %d/%d runs done on worker %.13s, task again after kill: %s, %d zombie completions refused of %d; ",
			kind, times, times, info.GetId(), s, after-before, zombies)
		w.kill()
	}
	return text, nil
}

func (l *lab) killAndReturn(ctx context.Context, w *worker, kind, id string, s *samples, zombies *int) (*worker, error) {
	const step, patience = 150 * time.Millisecond, 90 * time.Second
	run, err := l.flows.chain.RunNoWait(ctx, hold{step.Milliseconds(), step.Milliseconds()}, limpet.WithRunWorker(id))
	if err != nil {
		return w, err
	}
	// In the middle of any of its tasks.
	task := fmt.Sprintf("s%d", rand.IntN(steps)) //nolint:gosec // which task is a matter of chance
	first, err := l.evidence.await(ctx, patience, task+" of run "+run.ID(), func(e line) bool { return e.Run == run.ID() && e.Kind == "begin" && e.Task == task })
	if err != nil {
		return w, err
	}
	if err := sleep(ctx, rand.N(step*4/5)); err != nil { //nolint:gosec // so is when
		return w, err
	}
	at := time.Now()
	pid := w.process(first.Pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return w, fmt.Errorf("kill the worker: %w", err)
	}
	if kind == "sdk" {
		<-w.done
		if w, err = l.startWorker(kind, w.name, w.name, 10); err != nil {
			return w, err
		}
	}
	again, err := l.evidence.await(ctx, patience, "run "+run.ID()+" to go on after the kill", func(e line) bool {
		return e.Run == run.ID() && e.Kind == "begin" && e.Pid != first.Pid
	})
	if err != nil {
		return w, err
	}
	s.add(again.At.Sub(at))
	if err := l.zombie(ctx, again); err != nil {
		return w, err
	}
	if again.Attempt > 0 {
		*zombies++
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := run.Result(ctx)
	if err != nil {
		return w, err
	}
	for i := range steps {
		var out ran
		if err := res.Into(fmt.Sprintf("s%d", i), &out); err != nil {
			return w, err
		}
		if out.Worker != id {
			return w, fmt.Errorf("run %s: s%d says worker %q, not %s", run.ID(), i, out.Worker, id)
		}
	}
	if other := l.evidence.all(func(e line) bool { return e.Run == run.ID() && e.Worker != id }); len(other) > 0 {
		return w, fmt.Errorf("run %s of worker %s was also at %s", run.ID(), id, other[0].Worker)
	}
	return w, nil
}

// zombie says COMPLETED of the attempt before, as a dead process would whose
// last words were long under way.
func (l *lab) zombie(ctx context.Context, now line) error {
	if now.Attempt == 0 {
		return nil // the kill came between two tasks
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+l.token)
	a := &compat.AssignedAction{TaskRunExternalId: now.TaskRun, RetryCount: now.Attempt - 1}
	e := completion(a, now.Worker, compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED, fmt.Sprintf(`{"Worker":"zombie of %d","Attempt":0}`, os.Getpid()))
	_, err := compat.NewDispatcherClient(l.conns[0]).SendStepActionEvent(ctx, e)
	if err != nil {
		return fmt.Errorf("a late completion is answered with %w", err)
	}
	return nil
}
