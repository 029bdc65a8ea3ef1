package scheduler

import (
	"strings"

	"github.com/limpet-dev/limpet/fsm"
)

// placeFirst places a task run whose run has no pin.
func (d *decider) placeFirst(t *fsm.TaskRun) bool {
	run, ok := d.view.Run(t.Run)
	if !ok {
		return false
	}
	if w, ok := d.view.Worker(run.Prefer); ok && d.view.Rejects(w, t) == "" {
		return d.assign(t, w, ReasonParent)
	}
	v, ok := d.view.Version(t.Version)
	if !ok {
		return false
	}
	if v.Sticky != fsm.StrategyNone {
		// The first assignment pins the run: choose a worker with room for all
		// of the run that waits now, so that its parallel roots start together.
		need := d.demand(t)
		if w, reason := d.best(t, need); w != nil {
			return d.assign(t, w, reason)
		}
		if v.Sticky == fsm.StrategySoft && !t.Overflow && d.someday(t, need) {
			return false // wait a little for such a worker, rather than spread
		}
	}
	w, reason := d.best(t, d.view.Task(t).Slots)
	return w != nil && d.assign(t, w, reason)
}

// someday reports whether any worker with the action is large enough for need.
func (d *decider) someday(t *fsm.TaskRun, need []fsm.Slots) bool {
	for p := range d.view.Profiles(t.Tenant, d.view.Task(t).Action) {
		if p.CouldHold(need) {
			return true
		}
	}
	return false
}

// demand sums the slots that the waiting task runs of the run ask for.
func (d *decider) demand(t *fsm.TaskRun) []fsm.Slots {
	run, ok := d.view.Run(t.Run)
	if !ok {
		return d.view.Task(t).Slots
	}
	var sum []fsm.Slots
	for _, id := range run.Tasks {
		if o, ok := d.view.TaskRun(id); ok && o.Status == fsm.Queued {
			sum = addSlots(sum, d.view.Task(o).Slots)
		}
	}
	return sum
}

func addSlots(sum, more []fsm.Slots) []fsm.Slots {
next:
	for _, m := range more {
		for i := range sum {
			if sum[i].Type == m.Type {
				sum[i].Units += m.Units
				continue next
			}
		}
		sum = append(sum, m)
	}
	return sum
}

// best gives the eligible worker with the highest label score, and among equals
// the least loaded, that has the units free; nil if there is none. Workers with
// equal actions and labels share a profile, and only the best of each profile
// is weighed.
func (d *decider) best(t *fsm.TaskRun, need []fsm.Slots) (*fsm.Worker, string) {
	wishes := d.view.Wishes(t)
	var found *fsm.Worker
	var score int64
	for p := range d.view.Profiles(t.Tenant, d.view.Task(t).Action) {
		s, ok := weigh(wishes, p.Labels)
		if !ok || (found != nil && s < score) {
			continue
		}
		w := d.freest(p, t, need)
		if w == nil || (found != nil && s == score && !lessLoaded(w, found)) {
			continue
		}
		found, score = w, s
	}
	if score > 0 {
		return found, ReasonLabels
	}
	return found, ReasonLeastLoaded
}

// freest gives the least loaded worker of the profile that can take the task
// run and has the units free.
func (d *decider) freest(p *fsm.Profile, t *fsm.TaskRun, need []fsm.Slots) *fsm.Worker {
	looked := 0
	for w := range d.view.FreeWorkers(p) {
		if w.Fits(need) && d.view.Rejects(w, t) == "" {
			return w
		}
		if looked++; looked >= scanLimit {
			break
		}
	}
	return nil
}

// weigh scores labels against wishes; ok is false if a required one is not met.
func weigh(wishes []fsm.LabelWish, labels []fsm.Label) (score int64, ok bool) {
	for i := range wishes {
		switch {
		case strings.HasPrefix(wishes[i].Label.Key, fsm.IdentityPrefix):
			// Not a matter of the profile: Rejects asks each worker.
		case wishes[i].Holds(labels):
			score += int64(wishes[i].Weight)
		case wishes[i].Required:
			return 0, false
		}
	}
	return score, true
}

func lessLoaded(a, b *fsm.Worker) bool {
	la, lb := a.Load(), b.Load()
	if la != lb {
		return la < lb
	}
	if a.LastAssigned != b.LastAssigned {
		return a.LastAssigned < b.LastAssigned
	}
	return a.ID < b.ID
}
