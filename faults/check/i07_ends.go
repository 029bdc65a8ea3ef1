package check

import (
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// Ends checks I7: at the end all runs that the state holds, and all that were
// acknowledged, are final. And nothing lies undelivered until its timeout while
// its worker has a stream and nothing is in the way.
func Ends(h history.History) []Violation {
	f := found{invariant: "I7"}
	rest := rested(h)
	ways := delivery{since: map[string]time.Duration{}}
	for _, e := range h {
		if rest && e.Kind == history.Kept && e.Run != "" && !history.Final(e.Status) {
			f.add(e, "run %s is %s at the end; %s", e.Run, e.Status, e.Detail)
		}
		if e.Kind == history.Fired && e.Cause == CauseDelivery && ways.clear(e) {
			f.add(e, "attempt %d of task run %s was not delivered to worker %s, which has had a stream since %v",
				e.Attempt, e.TaskRun, e.Worker, ways.since[e.Worker])
		}
		ways.take(e)
	}
	return f.list
}

// CauseDelivery is the Cause of an attempt that was taken back because its
// worker had not said that it has started.
const CauseDelivery = "the delivery timeout"

// redelivery is how long a stream may take to send what an earlier one may have
// delivered, and the report that follows to arrive.
const redelivery = 4 * time.Second

// delivery knows since when each worker has a stream that no fault disturbs.
type delivery struct {
	since  map[string]time.Duration
	faults int
	quiet  time.Duration // when the latest fault ended
}

func (d *delivery) take(e history.Event) {
	switch e.Kind {
	case history.WorkerAttach:
		d.since[e.Worker] = e.At
	case history.WorkerStop, history.WorkerFreeze, history.WorkerThaw, history.WorkerStart:
		delete(d.since, e.Worker)
	case history.FaultBegin:
		d.faults++
	case history.FaultEnd:
		d.faults--
		d.quiet = e.At
	case history.Healed:
		d.quiet = e.At
	}
}

func (d *delivery) clear(e history.Event) bool {
	since, ok := d.since[e.Worker]
	return ok && d.faults == 0 && e.At-max(since, d.quiet) > redelivery
}
