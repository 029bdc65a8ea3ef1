package check

import "github.com/limpet-dev/limpet/faults/history"

// Fence checks I4.
func Fence(h history.History) []Violation {
	c := fence{
		found: found{invariant: "I4"}, held: map[string]history.Event{}, newest: map[string]int32{},
		bodies: map[attempt]string{}, epochs: map[string]int64{},
	}
	for _, e := range h {
		c.take(e)
	}
	return c.list
}

type fence struct {
	found
	held   map[string]history.Event // task run -> its live assignment
	newest map[string]int32         // task run -> its newest attempt that was assigned
	bodies map[attempt]string       // who executed it
	epochs map[string]int64
}

func (c *fence) take(e history.Event) {
	switch e.Kind {
	case history.Lease:
		if e.Epoch < c.epochs[e.Worker] {
			c.add(e, "the epoch of worker %s went from %d back to %d", e.Worker, c.epochs[e.Worker], e.Epoch)
		}
		c.epochs[e.Worker] = max(e.Epoch, c.epochs[e.Worker])
	case history.Assigned:
		c.assigned(e)
	case history.Ended:
		c.ended(e)
	case history.Begin:
		if w, ok := c.bodies[attemptOf(e)]; ok && w != e.Worker {
			c.add(e, "attempt %d of task run %s was executed by worker %s and by worker %s", e.Attempt, e.TaskRun, w, e.Worker)
		}
		c.bodies[attemptOf(e)] = e.Worker
	case history.Reported:
		if e.Status == history.Accepted && e.Op == history.OpCompleted && e.Worker != c.bodies[attemptOf(e)] {
			c.add(e, "worker %s had the completion of attempt %d of task run %s accepted, which it did not execute", e.Worker, e.Attempt, e.TaskRun)
		}
	}
}

func (c *fence) assigned(e history.Event) {
	if a, ok := c.held[e.TaskRun]; ok {
		c.add(e, "task run %s was assigned to worker %s, attempt %d, while worker %s had attempt %d",
			e.TaskRun, e.Worker, e.Attempt, a.Worker, a.Attempt)
	}
	if before, ok := c.newest[e.TaskRun]; ok && e.Attempt <= before {
		c.add(e, "task run %s was assigned as attempt %d after attempt %d", e.TaskRun, e.Attempt, before)
	}
	if known := c.epochs[e.Worker]; known != 0 && known != e.Epoch {
		c.add(e, "task run %s was assigned to epoch %d of worker %s, which is at %d", e.TaskRun, e.Epoch, e.Worker, known)
	}
	c.held[e.TaskRun], c.newest[e.TaskRun] = e, e.Attempt
}

// ended compares a completion with the worker that made it: the output names
// the attempt and the worker.
func (c *fence) ended(e history.Event) {
	a, ok := c.held[e.TaskRun]
	delete(c.held, e.TaskRun)
	if e.Status != history.Completed {
		return
	}
	switch {
	case !ok:
		c.add(e, "task run %s was completed and nobody had it", e.TaskRun)
	case a.Attempt != e.Attempt:
		c.add(e, "task run %s was completed as attempt %d, and worker %s had attempt %d", e.TaskRun, e.Attempt, a.Worker, a.Attempt)
	case e.Output != "" && e.Output != Output(a.TaskRun, a.Attempt, a.Worker):
		c.add(e, "task run %s, which worker %s had as attempt %d, was completed with the output %s", e.TaskRun, a.Worker, a.Attempt, e.Output)
	}
}
