package fsm

import "cmp"

// The keys of the derived indexes. Each type has its order beside it.

// heldKey: the task runs that a worker holds.
type heldKey struct {
	worker WorkerID
	task   TaskRunID
}

func lessHeld(a, b heldKey) bool {
	return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.task, b.task)) < 0
}

// pinKey: the live runs pinned to a worker.
type pinKey struct {
	worker WorkerID
	run    RunID
}

func lessPin(a, b pinKey) bool {
	return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.run, b.run)) < 0
}

// waitKey: queued task runs of unpinned runs, by class: the task runs of one
// class ask the same of a worker.
type waitKey struct {
	class    string
	priority int32 // negated: high first
	seq      Seq
	task     TaskRunID
}

func lessWait(a, b waitKey) bool {
	return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.priority, b.priority),
		cmp.Compare(a.seq, b.seq), cmp.Compare(a.task, b.task)) < 0
}

// parkList says in which of a worker's three lists a pinned task run waits.
type parkList uint8

const (
	parkHard     parkList = iota // HARD: only this worker
	parkSoft                     // SOFT: this worker, patiently
	parkOverflow                 // SOFT, patience over: this worker or another
)

// parkKey: queued task runs of pinned runs, by their worker.
type parkKey struct {
	worker   WorkerID
	list     parkList
	priority int32
	seq      Seq
	task     TaskRunID
}

func lessPark(a, b parkKey) bool {
	return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.list, b.list), cmp.Compare(a.priority, b.priority),
		cmp.Compare(a.seq, b.seq), cmp.Compare(a.task, b.task)) < 0
}

// parkCount is how many task runs wait in each list of a worker.
type parkCount [3]int

func (p parkCount) total() int { return p[parkHard] + p[parkSoft] + p[parkOverflow] }

// borrowKey: queued task runs that may take over the slots of their parent task
// run at a worker.
type borrowKey struct {
	worker WorkerID
	parent TaskRunID
	seq    Seq
	task   TaskRunID
}

func lessBorrow(a, b borrowKey) bool {
	return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.parent, b.parent),
		cmp.Compare(a.seq, b.seq), cmp.Compare(a.task, b.task)) < 0
}

// listenKey: the conditions that wait for an event.
type listenKey struct {
	tenant TenantID
	key    string
	task   TaskRunID
	cond   int
}

func lessListen(a, b listenKey) bool {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.key, b.key),
		cmp.Compare(a.task, b.task), cmp.Compare(a.cond, b.cond)) < 0
}

// deadlineKey: what happens to a task run next by itself.
type deadlineKey struct {
	at   Instant
	task TaskRunID
}

func lessDeadline(a, b deadlineKey) bool {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.task, b.task)) < 0
}

// ageKey: finished runs by age, lost workers by when they are forgotten, and
// workers by when something happens to them by itself.
type ageKey struct {
	at Instant
	id string
}

func lessAge(a, b ageKey) bool {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) < 0
}

// freeKey: the workers that can take something, by profile and load.
type freeKey struct {
	profile profileKey
	load    int64
	last    Seq
	worker  WorkerID
}

func lessFree(a, b freeKey) bool {
	return cmp.Or(cmp.Compare(a.profile, b.profile), cmp.Compare(a.load, b.load),
		cmp.Compare(a.last, b.last), cmp.Compare(a.worker, b.worker)) < 0
}

// actionKey: the profiles that have an action.
type actionKey struct {
	tenant  TenantID
	action  string
	profile profileKey
}

func lessAction(a, b actionKey) bool {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.action, b.action), cmp.Compare(a.profile, b.profile)) < 0
}
