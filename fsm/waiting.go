package fsm

import "fmt"

// WaitReason says why a task run that waits is not with a worker: a code, and a
// sentence that says what it waits for and what to do.
func (v View) WaitReason(t *TaskRun) (code, text string) {
	switch t.Status {
	case Blocked:
		if t.Waiting == 0 && len(t.Conds) > 0 {
			return "CONDITIONS_PENDING", v.openConditions(t)
		}
		return "PARENTS_PENDING", fmt.Sprintf("waits for %d parent task(s)", t.Waiting)
	case Backoff:
		return "RETRY_BACKOFF", fmt.Sprintf("attempt %d failed (%s); the next starts in %s", t.Attempt-1, t.Error, round(t.Deadline.Sub(v.Now())))
	case Queued:
	case Assigned:
		return "DISPATCHED_NOT_STARTED", "is with worker " + string(t.Worker) + ", which has not said STARTED"
	case Running, Completed, Failed, Cancelled, Skipped:
		return "NONE", "does not wait"
	}
	if p, ok := v.st.pins.Get(t.Run); ok {
		return v.pinReason(t, p)
	}
	return v.openReason(t)
}

// openConditions names what an armed task run waits for.
func (v View) openConditions(t *TaskRun) string {
	def := v.st.taskOf(t)
	text := "waits for"
	for i := range t.Conds {
		if t.Conds[i].State != CondOpen {
			continue
		}
		if text != "waits for" {
			text += ","
		}
		switch c := &def.Conditions[i]; c.Kind {
		case CondSleep:
			text += " the end of a sleep in " + round(t.Conds[i].At.Sub(v.Now()))
		case CondEvent:
			text += " the event " + itoq(c.EventKey)
		case CondParent:
			text += " the leader's verdict on " + itoq(c.Expression)
		}
	}
	return text
}

func (v View) pinReason(t *TaskRun, p *Pin) (code, text string) {
	def := v.st.taskOf(t)
	w, ok := v.st.workers.Get(p.Worker)
	if !ok {
		return "PIN_WORKER_LOST", fmt.Sprintf("the run is pinned %s to worker %s, which is no longer known", p.Strategy, p.Worker)
	}
	pinned := fmt.Sprintf("the run is pinned %s to worker %s", p.Strategy, describe(w))
	since := round(v.Now().Sub(w.Lease.Since))
	switch {
	case w.Lease.State == LeaseLost && w.superseded():
		return "PIN_STATE_GONE", fmt.Sprintf("%s, which is no more: %s; run `limpet pin release %s --reason ...` to go on without that state", pinned, w.Lease.Reason, p.Run)
	case w.Lease.State == LeaseLost && w.Identity != "":
		return "PIN_WORKER_LOST", fmt.Sprintf("%s, whose lease was lost %s ago (%s); start the worker with the identity %s again, or run `limpet pin release %s --reason ...`", pinned, since, w.Lease.Reason, itoq(w.Identity), p.Run)
	case w.Lease.State == LeaseLost:
		return "PIN_WORKER_LOST", fmt.Sprintf("%s, whose lease was lost %s ago (%s); start that worker again if it keeps its id, or run `limpet pin release %s --reason ...`", pinned, since, w.Lease.Reason, p.Run)
	case w.Lease.State == LeaseSuspect:
		return "PIN_STREAM_DOWN", fmt.Sprintf("%s, which has had no assignment stream for %s (%s); it is given time to come back", pinned, since, w.Lease.Reason)
	case w.Drained:
		return "PIN_WORKER_DRAINING", fmt.Sprintf("%s, which has drained and takes nothing more; run `limpet worker resume %s`, or `limpet pin release %s --reason ...`", pinned, w.ID, p.Run)
	case w.Mode == ModePaused:
		return "PIN_WORKER_PAUSED", pinned + ", which is paused; run `limpet worker resume " + string(w.ID) + "`"
	case w.Mode == ModeDraining && p.Strategy != StrategyHard:
		return "PIN_WORKER_DRAINING", pinned + ", which is draining"
	case !w.CouldFit(def.Slots):
		return "SLOT_COST_TOO_BIG", pinned + ", which has fewer slots than the task asks for"
	case !w.Fits(def.Slots):
		return "PIN_WORKER_FULL", pinned + ", which has no free slot"
	}
	if r, ok := v.st.runs.Get(t.Run); ok {
		if why := v.st.rejects(w, t, def, r); why != "" {
			return "PIN_AFFINITY_CONFLICT", pinned + ", which " + why
		}
	}
	return "BEHIND_IN_QUEUE", pinned + "; it is next in line there"
}

// openReason looks at the workers that have the action, for a task run that any
// of them may take.
func (v View) openReason(t *TaskRun) (code, text string) {
	def := v.st.taskOf(t)
	var known, live, labelled, could int
	r, _ := v.st.runs.Get(t.Run)
	wishes := v.st.wishesOf(def, r)
	v.st.workers.Scan(func(_ WorkerID, w *Worker) bool {
		if w.Tenant != t.Tenant || !w.HasAction(def.Action) {
			return true
		}
		known++
		if w.Lease.State != LeaseLive || w.Mode != ModeActive {
			return true
		}
		live++
		for i := range wishes {
			if wishes[i].Required && !wishes[i].Holds(w.Labels) {
				return true
			}
		}
		labelled++
		if w.CouldFit(def.Slots) {
			could++
		}
		return true
	})
	switch {
	case known == 0:
		return "NO_WORKER_REGISTERED", fmt.Sprintf("no worker has registered the action %q; start one, or check the name", def.Action)
	case live == 0:
		return "NO_WORKER_ALIVE", fmt.Sprintf("%d worker(s) registered the action %q, and none is live and active; see `limpet worker list`", known, def.Action)
	case labelled == 0:
		return "AFFINITY_UNMET", fmt.Sprintf("none of %d live worker(s) with the action %q meets its required labels", live, def.Action)
	case could == 0:
		return "SLOT_COST_TOO_BIG", fmt.Sprintf("none of %d eligible worker(s) has as many slots as the task asks for", labelled)
	}
	return "SLOTS_FULL", fmt.Sprintf("the slots of %d eligible worker(s) are taken", could)
}
