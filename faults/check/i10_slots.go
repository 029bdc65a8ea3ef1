package check

import "github.com/limpet-dev/limpet/faults/history"

// Slots checks I10: neither do live assignments take more slots than a worker
// has, nor do bodies whose assignment is live. A task run that takes the slots
// of its parent is counted in its parent's place.
func Slots(h history.History) []Violation {
	c := slots{
		found: found{invariant: "I10"}, size: map[string]int{}, holds: map[string]map[string]history.Event{},
		runs: map[string]map[attempt]bool{}, over: map[string]bool{},
	}
	for _, e := range h {
		c.take(e)
	}
	return c.list
}

type slots struct {
	found
	size  map[string]int                      // worker -> its slots
	holds map[string]map[string]history.Event // worker -> task run -> live assignment
	runs  map[string]map[attempt]bool         // worker -> bodies
	over  map[string]bool                     // said already
}

func (c *slots) take(e history.Event) {
	switch e.Kind {
	case history.WorkerStart:
		c.size[e.Worker] = e.Slots
		c.runs[e.Worker] = nil
	case history.Assigned:
		put(c.holds, e.Worker, e.TaskRun, e)
		c.judge(e)
	case history.Ended:
		for _, held := range c.holds {
			delete(held, e.TaskRun)
		}
	case history.Begin:
		put(c.runs, e.Worker, attemptOf(e), true)
		c.judge(e)
	case history.End, history.Cut:
		delete(c.runs[e.Worker], attemptOf(e))
	}
}

func (c *slots) judge(e history.Event) {
	size, ok := c.size[e.Worker]
	if !ok || c.over[e.Worker] {
		return
	}
	held, bodies := 0, 0
	for id, a := range c.holds[e.Worker] {
		if _, lent := c.holds[e.Worker][a.Lender]; lent {
			continue
		}
		held++
		if c.runs[e.Worker][attempt{id, a.Attempt}] {
			bodies++
		}
	}
	if held > size || bodies > size {
		c.over[e.Worker] = true
		c.add(e, "worker %s has %d slots, %d assignments and %d bodies", e.Worker, size, held, bodies)
	}
}

func put[K comparable, V any](m map[string]map[K]V, worker string, key K, value V) {
	if m[worker] == nil {
		m[worker] = map[K]V{}
	}
	m[worker][key] = value
}
