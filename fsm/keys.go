package fsm

// The keys of the derived indexes. Each type has its order beside it: the first field
// that differs decides, and none behind it is looked at, for a text lies elsewhere in
// memory than its key.

// heldKey: the task runs that a worker holds.
type heldKey struct {
	worker WorkerID
	task   TaskRunID
}

func lessHeld(a, b heldKey) bool {
	if a.worker != b.worker {
		return a.worker < b.worker
	}
	return a.task < b.task
}

// pinKey: the live runs pinned to a worker.
type pinKey struct {
	worker WorkerID
	run    RunID
}

func lessPin(a, b pinKey) bool {
	if a.worker != b.worker {
		return a.worker < b.worker
	}
	return a.run < b.run
}

// turn is the place of a task run among those that wait for the same.
type turn struct {
	priority int32 // negated: high first
	seq      Seq
	task     TaskRunID
}

// foremost is a priority before that of any task run.
const foremost = -1 << 30

func (a turn) before(b turn) bool {
	if a.priority != b.priority {
		return a.priority < b.priority
	}
	if a.seq != b.seq {
		return a.seq < b.seq
	}
	return a.task < b.task
}

// waitKey: queued task runs of unpinned runs, by class: the task runs of one
// class ask the same of a worker.
type waitKey struct {
	class string
	turn
}

func lessWait(a, b waitKey) bool {
	if a.class != b.class {
		return a.class < b.class
	}
	return a.before(b.turn)
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
	worker WorkerID
	list   parkList
	turn
}

func lessPark(a, b parkKey) bool {
	if a.worker != b.worker {
		return a.worker < b.worker
	}
	if a.list != b.list {
		return a.list < b.list
	}
	return a.before(b.turn)
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
	if a.worker != b.worker {
		return a.worker < b.worker
	}
	if a.parent != b.parent {
		return a.parent < b.parent
	}
	if a.seq != b.seq {
		return a.seq < b.seq
	}
	return a.task < b.task
}

// listenKey: the conditions that wait for an event.
type listenKey struct {
	tenant TenantID
	key    string
	task   TaskRunID
	cond   int
}

func lessListen(a, b listenKey) bool {
	if a.tenant != b.tenant {
		return a.tenant < b.tenant
	}
	if a.key != b.key {
		return a.key < b.key
	}
	if a.task != b.task {
		return a.task < b.task
	}
	return a.cond < b.cond
}

// deadlineKey: what happens to a task run next by itself.
type deadlineKey struct {
	at   Instant
	task TaskRunID
}

func lessDeadline(a, b deadlineKey) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.task < b.task
}

// ageKey: finished runs by age, lost workers by when they are forgotten, and
// workers by when something happens to them by itself.
type ageKey struct {
	at Instant
	id string
}

func lessAge(a, b ageKey) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.id < b.id
}

// freeKey: the workers that can take something, by profile and load.
type freeKey struct {
	profile profileKey
	load    int64
	last    Seq
	worker  WorkerID
}

func lessFree(a, b freeKey) bool {
	if a.profile != b.profile {
		return a.profile < b.profile
	}
	if a.load != b.load {
		return a.load < b.load
	}
	if a.last != b.last {
		return a.last < b.last
	}
	return a.worker < b.worker
}

// actionKey: the profiles that have an action.
type actionKey struct {
	tenant  TenantID
	action  string
	profile profileKey
}

func lessAction(a, b actionKey) bool {
	if a.tenant != b.tenant {
		return a.tenant < b.tenant
	}
	if a.action != b.action {
		return a.action < b.action
	}
	return a.profile < b.profile
}
