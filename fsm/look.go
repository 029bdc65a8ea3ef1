package fsm

import (
	"cmp"
	"iter"
	"strings"
)

// This file is what the scheduler sees: the queues, and the workers by what
// they can do.

// HasWork reports whether any queued task run might be placed: some class
// waits, or some worker with parked task runs deserves a look.
func (v View) HasWork() bool {
	return v.st.waiting.Len() > 0 || v.st.attention.Len() > 0 || v.st.cases.Len() > 0
}

// Attention gives the first worker after the given one whose parked task runs
// deserve a look: it has room for them, or they may go elsewhere.
func (v View) Attention(after WorkerID) (*Worker, bool) {
	var found *Worker
	v.st.attention.Ascend(after, func(id WorkerID, _ struct{}) bool {
		if id == after {
			return true
		}
		found, _ = v.st.workers.Get(id)
		return found == nil
	})
	return found, found != nil
}

// Parked iterates over the task runs that wait for their pinned worker, by
// priority and age: those of hard runs, and then those of soft runs, the
// impatient first. The state must not change meanwhile.
func (v View) Parked(w WorkerID, hard bool) iter.Seq[*TaskRun] {
	lists := []parkList{parkOverflow, parkSoft}
	if hard {
		lists = []parkList{parkHard}
	}
	return func(yield func(*TaskRun) bool) {
		for _, l := range lists {
			on := true
			v.st.parked.Ascend(parkKey{worker: w, list: l, turn: turn{priority: foremost}}, func(k parkKey) bool {
				if k.worker != w || k.list != l {
					return false
				}
				t, ok := v.st.tasks.Get(k.task)
				on = !ok || yield(t)
				return on
			})
			if !on {
				return
			}
		}
	}
}

// QueueHead is the first task run of a class, with what orders classes among
// each other.
type QueueHead struct {
	Class    string
	Priority int32
	Seq      Seq
	Task     TaskRunID
}

// Before reports whether h is to be served before o: higher priority, then
// older.
func (h QueueHead) Before(o QueueHead) bool {
	return cmp.Or(cmp.Compare(o.Priority, h.Priority), cmp.Compare(h.Seq, o.Seq), strings.Compare(h.Class, o.Class)) < 0
}

// Class gives the first waiting task run of the first class at or after the
// given one.
func (v View) Class(from string) (QueueHead, bool) {
	k, ok := v.st.waiting.first(waitKey{class: from, turn: turn{priority: foremost}})
	return QueueHead{k.class, -k.priority, k.seq, k.task}, ok
}

// Profiles iterates over the groups of workers that registered the action.
func (v View) Profiles(t TenantID, action string) iter.Seq[*Profile] {
	return func(yield func(*Profile) bool) {
		v.st.actions.Ascend(actionKey{tenant: t, action: action}, func(k actionKey) bool {
			if k.tenant != t || k.action != action {
				return false
			}
			p, ok := v.st.profiles.Get(k.profile)
			return !ok || yield(p)
		})
	}
}

// FreeWorkers iterates over the workers of a profile that can take something
// now, least loaded first.
func (v View) FreeWorkers(p *Profile) iter.Seq[*Worker] {
	return func(yield func(*Worker) bool) {
		v.st.free.Ascend(freeKey{profile: profileKey(p.Key), load: -1}, func(k freeKey) bool {
			if string(k.profile) != p.Key {
				return false
			}
			w, ok := v.st.workers.Get(k.worker)
			return !ok || yield(w)
		})
	}
}

// Wishes gives the labels that count for a task run: those of its trigger
// replace the task's own.
func (v View) Wishes(t *TaskRun) []LabelWish {
	r, _ := v.st.runs.Get(t.Run)
	return v.st.wishesOf(v.st.taskOf(t), r)
}

// Rejects says why the worker may not take the task run now, or "".
func (v View) Rejects(w *Worker, t *TaskRun) string {
	r, _ := v.st.runs.Get(t.Run)
	if w.Lease.State != LeaseLive {
		return "its lease is " + w.Lease.State.String()
	}
	return v.st.rejects(w, t, v.st.taskOf(t), r)
}
