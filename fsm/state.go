package fsm

import "slices"

// State is the tables and the indexes derived from them. The tables are what
// is replicated, hashed and written to snapshots; the indexes are kept in step
// by the set functions and rebuilt after a restore.
type State struct {
	seq       Seq
	stamp     Stamp
	clusterID string
	settings  Settings
	fresh     *brand // of what no copy of the state has; nil if there is nothing

	keys      table[string, *Key]
	tenants   table[TenantID, *Tenant]
	workflows table[WorkflowID, *Workflow]
	versions  table[VersionID, *Version]
	workers   table[WorkerID, *Worker]
	runs      recalled[RunID, *Run]
	tasks     recalled[TaskRunID, *TaskRun]
	pins      table[RunID, *Pin]
	children  table[string, RunID]
	requests  table[string, *request]
	events    table[string, *Event]
	cases     table[string, *Case]
	logs      table[string, *LogLine]
	chunks    table[string, *Chunk]
	audits    table[Seq, *Audit]

	names     table[string, WorkflowID]
	runOrder  table[Seq, RunID]
	recent    table[Seq, string] // request ids by age
	finished  index[ageKey]
	gone      index[ageKey] // lost workers
	timers    index[ageKey] // workers, by what happens to them next
	places    table[string, WorkerID]
	held      index[heldKey]
	pinned    index[pinKey]
	waiting   index[waitKey]
	parked    index[parkKey]
	restless  index[parkKey] // of those parked, what the loss of the worker changes
	parkedAt  table[WorkerID, parkCount]
	attention table[WorkerID, struct{}]
	deadlines index[deadlineKey]
	profiles  table[profileKey, *Profile]
	actions   index[actionKey]
	free      index[freeKey]
	borrow    index[borrowKey]
	listening index[listenKey]
	eventAge  table[Seq, string]
	lines     table[RunID, int] // cost of the log lines and chunks kept of a run
	// Sizes of what is kept: of events, of all runs' payloads, and of all log lines
	// and chunks.
	eventBytes, payload, lineBytes int
}

func newState() *State {
	return &State{
		settings: DefaultSettings(),
		keys:     newTable[string, *Key](), tenants: newTable[TenantID, *Tenant](),
		workflows: newTable[WorkflowID, *Workflow](), versions: newTable[VersionID, *Version](),
		workers: newTable[WorkerID, *Worker](), runs: newRecalled[RunID, *Run](),
		tasks: newRecalled[TaskRunID, *TaskRun](), pins: newTable[RunID, *Pin](),
		children: newTable[string, RunID](), requests: newTable[string, *request](),
		names: newTable[string, WorkflowID](), runOrder: newTable[Seq, RunID](), recent: newTable[Seq, string](),
		finished: newIndex(lessAge), gone: newIndex(lessAge), held: newIndex(lessHeld), pinned: newIndex(lessPin),
		waiting: newIndex(lessWait), parked: newIndex(lessPark), restless: newIndex(lessPark), parkedAt: newTable[WorkerID, parkCount](),
		attention: newTable[WorkerID, struct{}](), deadlines: newIndex(lessDeadline),
		profiles: newTable[profileKey, *Profile](), actions: newIndex(lessAction), free: newIndex(lessFree),
		events: newTable[string, *Event](), cases: newTable[string, *Case](), logs: newTable[string, *LogLine](),
		chunks: newTable[string, *Chunk](), borrow: newIndex(lessBorrow), listening: newIndex(lessListen),
		eventAge: newTable[Seq, string](), lines: newTable[RunID, int](), audits: newTable[Seq, *Audit](),
		timers: newIndex(lessAge), places: newTable[string, WorkerID](),
	}
}

// clone is O(number of tables). The two states share their objects, which neither
// changes from then on, and copy tree nodes on write.
func (s *State) clone() *State {
	if s.fresh != nil { // a view's never is, and others read it meanwhile
		s.fresh = nil
	}
	n := *s
	n.keys, n.tenants, n.workflows, n.versions = s.keys.clone(), s.tenants.clone(), s.workflows.clone(), s.versions.clone()
	n.workers, n.runs, n.tasks, n.pins = s.workers.clone(), s.runs.clone(), s.tasks.clone(), s.pins.clone()
	n.children, n.requests, n.names = s.children.clone(), s.requests.clone(), s.names.clone()
	n.runOrder, n.recent, n.finished, n.gone = s.runOrder.clone(), s.recent.clone(), s.finished.clone(), s.gone.clone()
	n.held, n.pinned, n.waiting, n.parked = s.held.clone(), s.pinned.clone(), s.waiting.clone(), s.parked.clone()
	n.restless, n.parkedAt, n.attention, n.deadlines = s.restless.clone(), s.parkedAt.clone(), s.attention.clone(), s.deadlines.clone()
	n.profiles, n.actions, n.free = s.profiles.clone(), s.actions.clone(), s.free.clone()
	n.events, n.cases, n.logs, n.chunks = s.events.clone(), s.cases.clone(), s.logs.clone(), s.chunks.clone()
	n.audits, n.timers, n.places = s.audits.clone(), s.timers.clone(), s.places.clone()
	n.borrow, n.listening, n.eventAge, n.lines = s.borrow.clone(), s.listening.clone(), s.eventAge.clone(), s.lines.clone()
	return &n
}

// ---- set functions: the only writers of tables that have indexes

func (s *State) setWorkflow(w *Workflow) {
	s.workflows.Set(w.ID, w)
	s.names.Set(workflowKey(w.Tenant, w.Name), w.ID)
}

func (s *State) setWorker(w *Worker) {
	old, had := s.workers.Get(w.ID)
	if had {
		s.unindexWorker(old)
	}
	if w.profile == "" || !had {
		w.profile = profileOf(w)
	}
	s.workers.Set(w.ID, w)
	if !had || old.profile != w.profile {
		if had {
			s.leaveProfile(old)
		}
		s.joinProfile(w)
	}
	s.indexWorker(w)
}

// charge counts units as used at a worker of the table (sign 1) or free again (sign
// -1), and gives the worker as it is then. At is when it was assigned something; 0 if
// it was not. It is counted up and down for every task run, so it is copied only
// where somebody else may have it.
func (s *State) charge(w *Worker, request []Slots, sign int32, at Seq) *Worker {
	s.unindexWorker(w)
	if s.fresh == nil {
		s.fresh = new(brand)
	}
	if w.brand != s.fresh {
		n := *w
		n.Used, n.brand = slices.Clone(w.Used), s.fresh
		w = &n
		s.workers.Set(w.ID, w)
	}
	w.count(request, sign)
	if at != 0 {
		w.LastAssigned = at
	}
	s.indexWorker(w)
	return w
}

// brand is on the objects that only one state has: they were made since it was last
// copied, so it may change them.
type brand struct{ _ byte }

func (s *State) deleteWorker(w *Worker) {
	s.unindexWorker(w)
	s.leaveProfile(w)
	s.workers.Delete(w.ID)
	s.attention.Delete(w.ID)
	if id, _ := s.places.Get(placeKey(w.Tenant, w.Identity)); id == w.ID {
		s.places.Delete(placeKey(w.Tenant, w.Identity))
	}
}

func (s *State) indexWorker(w *Worker) {
	if w.open() {
		s.free.Set(freeKey{w.profile, w.Load(), w.LastAssigned, w.ID})
	}
	if w.Lease.State == LeaseLost {
		s.gone.Set(ageKey{w.forgetAt(), string(w.ID)})
	}
	if at := w.timer(); at != 0 {
		s.timers.Set(ageKey{at, string(w.ID)})
	}
	s.attend(w)
}

func (s *State) unindexWorker(w *Worker) {
	s.free.Delete(freeKey{w.profile, w.Load(), w.LastAssigned, w.ID})
	if w.Lease.State == LeaseLost {
		s.gone.Delete(ageKey{w.forgetAt(), string(w.ID)})
	}
	if at := w.timer(); at != 0 {
		s.timers.Delete(ageKey{at, string(w.ID)})
	}
}

// attend decides whether the scheduler has anything to look at in the worker's
// parked task runs: they cost nothing until then.
func (s *State) attend(w *Worker) {
	if s.deserves(w) {
		s.attention.Set(w.ID, struct{}{})
	} else {
		s.attention.Delete(w.ID)
	}
}

func (s *State) deserves(w *Worker) bool {
	n, _ := s.parkedAt.Get(w.ID)
	look := false
	lends := false
	if k, ok := s.borrow.first(borrowKey{worker: w.ID}); ok && k.worker == w.ID {
		lends = w.Lease.State == LeaseLive && w.Mode != ModePaused
	}
	switch soft := n[parkSoft] + n[parkOverflow]; {
	case n.total() == 0:
	case w.Unavailable():
		look = soft > 0 || (n[parkHard] > 0 && w.Lease.State == LeaseLive && w.Mode == ModeDraining && !w.Drained && w.hasFree())
	case w.Lease.State == LeaseLive:
		look = w.hasFree() || n[parkOverflow] > 0
	}
	return look || lends
}

func (s *State) setRun(r *Run) {
	old, had := s.runs.Set(r.ID, r)
	if !had {
		s.runOrder.Set(r.Seq, r.ID)
		s.payload += len(r.Input) + len(r.Metadata)
	}
	if r.Status.Final() && (!had || !old.Status.Final()) {
		s.finished.Set(ageKey{r.FinishedAt, string(r.ID)})
		if p, ok := s.pins.Get(r.ID); ok {
			s.pinned.Delete(pinKey{p.Worker, r.ID})
		}
	}
	if had && old.Status.Final() && !r.Status.Final() { // a replay
		s.finished.Delete(ageKey{old.FinishedAt, string(r.ID)})
		if p, ok := s.pins.Get(r.ID); ok {
			s.pinned.Set(pinKey{p.Worker, r.ID})
		}
	}
}

func (s *State) setTask(t *TaskRun) {
	old, had := s.tasks.Set(t.ID, t)
	s.payload += len(t.Output)
	if !had {
		s.indexTask(t)
		return
	}
	s.payload -= len(old.Output)
	s.reindexTask(old, t)
}

// setPin stores the pin and moves the run's queued task runs to where they now
// wait. A nil pin clears it.
func (s *State) setPin(run RunID, p *Pin) {
	r, _ := s.runs.Get(run)
	for _, id := range r.Tasks {
		if t, ok := s.tasks.Get(id); ok && t.Status == Queued {
			s.leaveQueue(t)
		}
	}
	if old, ok := s.pins.Get(run); ok {
		s.pinned.Delete(pinKey{old.Worker, run})
	}
	if p == nil {
		s.pins.Delete(run)
	} else {
		s.pins.Set(run, p)
		if !r.Status.Final() {
			s.pinned.Set(pinKey{p.Worker, run})
		}
	}
	for _, id := range r.Tasks {
		if t, ok := s.tasks.Get(id); ok && t.Status == Queued {
			s.enterQueue(t)
		}
	}
}
