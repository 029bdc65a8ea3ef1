package check

import "github.com/limpet-dev/limpet/faults/history"

// overflow is the scheduler's reason for a task that another worker took while
// the pin stayed.
const overflow = "OVERFLOW"

// Soft checks I3.
func Soft(h history.History) []Violation {
	f := found{invariant: "I3"}
	pins := map[string]string{}
	leases := map[string]history.Event{}
	for _, e := range h {
		switch {
		case e.Kind == history.Lease:
			leases[e.Worker] = e
		case e.Kind == history.Unpinned:
			delete(pins, e.Run)
		case e.Kind == history.Pinned && e.Strategy == history.Soft:
			before := pins[e.Run]
			pins[e.Run] = e.Worker
			if before == "" || before == e.Worker || e.Cause == causeOperator || e.Cause == causeAgain {
				continue
			}
			l, known := leases[before]
			if known && l.Status != history.LeaseLost && l.Mode != history.ModeDraining {
				f.add(e, "the SOFT pin of run %s moved from worker %s, whose lease was %s and its mode %s, to %s",
					e.Run, before, l.Status, l.Mode, e.Worker)
			}
		case e.Kind == history.Assigned && e.Strategy == history.Soft:
			switch pin := pins[e.Run]; {
			case pin == "":
				f.add(e, "task run %s of the sticky run %s was assigned to worker %s and the run has no pin", e.TaskRun, e.Run, e.Worker)
			case pin != e.Worker && e.Cause != overflow:
				f.add(e, "task run %s of run %s, which is pinned to worker %s, went to %s as %s and not as an overflow",
					e.TaskRun, e.Run, pin, e.Worker, e.Cause)
			}
		}
	}
	return f.list
}
