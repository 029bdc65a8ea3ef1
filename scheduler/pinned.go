package scheduler

import (
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// scanLimit bounds how far one worker's parked task runs are looked through
// past those that cannot be placed now.
const scanLimit = 64

// placePinned serves the workers whose parked task runs deserve a look.
func (d *decider) placePinned() {
	last := fsm.WorkerID("")
	for !d.full() {
		w, ok := d.view.Attention(last)
		if !ok {
			return
		}
		last = w.ID
		d.serveParked(w.ID, true)
		d.serveParked(w.ID, false)
		d.serveLenders(w.ID)
	}
}

// placeSiblings places the other waiting task runs of a run that has just been
// pinned by its first assignment.
func (d *decider) placeSiblings(t *fsm.TaskRun) {
	if p, ok := d.view.Pin(t.Run); ok {
		d.serveParked(p.Worker, p.Strategy == fsm.StrategyHard)
	}
}

// serveParked places the task runs of one list of a worker: on the worker
// itself where it has room, or elsewhere where the rules of SOFT say so.
func (d *decider) serveParked(id fsm.WorkerID, hard bool) {
	for !d.full() {
		placed := false
		looked := 0
		for t := range d.view.Parked(id, hard) {
			if looked++; looked > scanLimit {
				return
			}
			if d.placeParked(t, id, hard) {
				// The list has changed: begin again.
				placed = true
				break
			}
		}
		if !placed {
			return
		}
	}
}

func (d *decider) placeParked(t *fsm.TaskRun, id fsm.WorkerID, hard bool) bool {
	w, ok := d.view.Worker(id)
	if ok && d.view.Rejects(w, t) == "" {
		return d.assign(t, w, ReasonPinned)
	}
	switch {
	case hard:
		return bugs.On(bugs.HardMoves) && ok && w.Lease.State == fsm.LeaseLive && d.placeElsewhere(t, ReasonOverflow)
	case !ok, w.Lease.State == fsm.LeaseLost, w.Mode == fsm.ModeDraining, bugs.On(bugs.SuspectMoves) && w.Lease.State == fsm.LeaseSuspect:
		return d.placeElsewhere(t, ReasonPinMoved)
	case w.Mode == fsm.ModePaused, t.Overflow && w.Lease.State == fsm.LeaseLive:
		return d.placeElsewhere(t, ReasonOverflow)
	}
	return false
}

// placeElsewhere gives a SOFT task run to the best worker other than its
// pinned one. A pin that moves looks for room for all of the run that waits.
func (d *decider) placeElsewhere(t *fsm.TaskRun, reason string) bool {
	need := d.view.Task(t).Slots
	if reason == ReasonPinMoved {
		if w, _ := d.best(t, d.demand(t)); w != nil {
			return d.assign(t, w, reason)
		}
	}
	w, _ := d.best(t, need)
	return w != nil && d.assign(t, w, reason)
}
