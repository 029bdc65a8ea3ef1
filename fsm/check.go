package fsm

import "fmt"

// Check gives the invariants that this state breaks, as far as one state can
// show them, in words. It must always be empty; it is O(state) and for tests.
func (v View) Check() []string {
	c := &checker{v: v}
	c.tasks()
	c.workers()
	c.runs()
	c.sizes()
	return c.bad
}

type checker struct {
	v   View
	bad []string
}

func (c *checker) fail(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

func (c *checker) tasks() {
	s := c.v.st
	waiting, parked, held, deadlines, listening, borrowing, restless := 0, 0, 0, 0, 0, 0, 0
	s.tasks.Scan(func(_ TaskRunID, t *TaskRun) bool {
		if t.Deadline != 0 {
			deadlines++
			entered(c, t, "deadlines", s.deadlines, deadlineKey{t.Deadline, t.ID})
		}
		switch {
		case t.Status.Held():
			held++
			entered(c, t, "held", s.held, heldKey{t.Worker, t.ID})
			c.holder(t)
		case t.Status == Blocked:
			s.eachListen(t, func(listenKey) { listening++ })
			if t.Waiting == 0 && len(t.Conds) == 0 && !c.idle(t) {
				c.fail("I7: task run %s is blocked and waits for nothing", t.ID)
			}
		case t.Status == Queued:
			if _, ok := s.pins.Get(t.Run); ok {
				parked++
				k, _ := s.parkKeyOf(t)
				entered(c, t, "parked", s.parked, k)
				if s.restlessAt(k, t) {
					restless++
					entered(c, t, "restless", s.restless, k)
				}
			} else {
				waiting++
				entered(c, t, "waiting", s.waiting, s.waitKeyOf(t))
			}
			if _, ok := s.borrowKeyOf(t); ok {
				borrowing++
			}
			if t.Deadline == 0 {
				c.fail("I7: queued task run %s has no deadline", t.ID)
			}
		}
		return true
	})
	if waiting != s.waiting.Len() || parked != s.parked.Len() || held != s.held.Len() || deadlines != s.deadlines.Len() {
		c.fail("indexes: waiting %d/%d, parked %d/%d, held %d/%d, deadlines %d/%d (true/indexed)",
			waiting, s.waiting.Len(), parked, s.parked.Len(), held, s.held.Len(), deadlines, s.deadlines.Len())
	}
	if listening != s.listening.Len() || borrowing != s.borrow.Len() || restless != s.restless.Len() {
		c.fail("indexes: listening %d/%d, borrowing %d/%d, restless %d/%d (true/indexed)",
			listening, s.listening.Len(), borrowing, s.borrow.Len(), restless, s.restless.Len())
	}
}

// entered checks that a task run is in an index under the key that it has now.
func entered[K any](c *checker, t *TaskRun, name string, x index[K], k K) {
	if _, ok := x.Get(k); !ok {
		c.fail("indexes: task run %s, %s, is not in %q under %+v", t.ID, t.Status, name, k)
	}
}

func indexed[K any](c *checker, w *Worker, name string, x index[K], k K) {
	if _, ok := x.Get(k); !ok {
		c.fail("indexes: worker %s is not in %q under %+v", w.ID, name, k)
	}
}

// idle reports whether a task run waits for what no count says: the on-failure
// task, for the others.
func (c *checker) idle(t *TaskRun) bool {
	v, ok := c.v.st.versions.Get(t.Version)
	return ok && v.OnFailure == t.Index
}

// holder checks the worker of a held task run: I2, I4.
func (c *checker) holder(t *TaskRun) {
	s := c.v.st
	w, ok := s.workers.Get(t.Worker)
	if !ok {
		c.fail("I4: task run %s is held by unknown worker %s", t.ID, t.Worker)
		return
	}
	if w.Lease.State == LeaseLost || w.Lease.Epoch != t.Epoch {
		c.fail("I4: task run %s is held at epoch %d by worker %s, whose lease is %s at epoch %d", t.ID, t.Epoch, w.ID, w.Lease.State, w.Lease.Epoch)
	}
	if p, ok := s.pins.Get(t.Run); ok && p.Strategy == StrategyHard && p.Worker != t.Worker {
		c.fail("I2: task run %s of a run pinned HARD to %s is held by %s", t.ID, p.Worker, t.Worker)
	}
}

// workers checks the count of slots in use: I10.
func (c *checker) workers() {
	s := c.v.st
	free, gone, timers, places := 0, 0, 0, 0
	s.workers.Scan(func(id WorkerID, w *Worker) bool {
		if at := w.timer(); at != 0 {
			timers++
			indexed(c, w, "timers", s.timers, ageKey{at, string(id)})
		}
		if w.Lease.State == LeaseLost {
			gone++
			indexed(c, w, "gone", s.gone, ageKey{w.forgetAt(), string(id)})
		}
		if w.Identity != "" && !w.superseded() {
			places++
			if at, _ := s.places.Get(placeKey(w.Tenant, w.Identity)); at != id {
				c.fail("I2: the identity %q of worker %s is that of worker %s", w.Identity, id, at)
			}
		}
		used := make([]int32, len(w.Slots))
		s.heldBy(id, func(t *TaskRun) bool {
			if !t.counted() {
				return true
			}
			for _, r := range s.taskOf(t).Slots {
				if i := w.slotIndex(r.Type); i >= 0 {
					used[i] += r.Units
				}
			}
			return true
		})
		for i := range used {
			if used[i] != w.Used[i].Units || used[i] > w.Slots[i].Units {
				c.fail("I10: worker %s holds %d of %d %s slots and counts %d", id, used[i], w.Slots[i].Units, w.Slots[i].Type, w.Used[i].Units)
			}
		}
		if w.open() {
			free++
			indexed(c, w, "free", s.free, freeKey{w.profile, w.Load(), w.LastAssigned, id})
		}
		if _, ok := s.attention.Get(id); ok != s.deserves(w) {
			c.fail("indexes: worker %s deserves attention: %v, and has it: %v", id, !ok, ok)
		}
		return true
	})
	if timers != s.timers.Len() || places != s.places.Len() {
		c.fail("indexes: timers %d/%d, places %d/%d (true/indexed)", timers, s.timers.Len(), places, s.places.Len())
	}
	if free != s.free.Len() || gone != s.gone.Len() {
		c.fail("indexes: free workers %d/%d, lost ones %d/%d (true/indexed)", free, s.free.Len(), gone, s.gone.Len())
	}
}

// sizes checks the sums that limits are held against.
func (c *checker) sizes() {
	s := c.v.st
	payload, lines := 0, 0
	s.runs.Scan(func(_ RunID, r *Run) bool {
		payload += len(r.Input) + len(r.Metadata)
		return true
	})
	s.tasks.Scan(func(_ TaskRunID, t *TaskRun) bool {
		payload += len(t.Output)
		return true
	})
	s.lines.Scan(func(_ RunID, n int) bool {
		lines += n
		return true
	})
	if payload != s.payload || lines != s.lineBytes {
		c.fail("sizes: payloads %d/%d, lines %d/%d (true/counted)", payload, s.payload, lines, s.lineBytes)
	}
}

// runs checks that a run is final exactly when its task runs are.
func (c *checker) runs() {
	s := c.v.st
	final := 0
	s.runs.Scan(func(id RunID, r *Run) bool {
		open := int32(0)
		for _, t := range r.Tasks {
			if x, ok := s.tasks.Get(t); !ok || !x.Status.Final() {
				open++
			}
		}
		if open != r.Open || (open == 0) != r.Status.Final() {
			c.fail("I7: run %s is %s with %d open task runs and counts %d", id, r.Status, open, r.Open)
		}
		if r.Status.Final() {
			final++
		}
		return true
	})
	if final != s.finished.Len() {
		c.fail("indexes: finished runs %d/%d (true/indexed)", final, s.finished.Len())
	}
}
