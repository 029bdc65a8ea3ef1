package fsm

import (
	"iter"

	"github.com/tidwall/btree"
)

// View is a frozen state: the read methods that the rest of the house gets.
// Pointers that it gives are to immutable objects. Any number of goroutines may
// read one View; only one at a time may call [View.Fork] on it.
type View struct{ st *State }

// Seq gives the number of commands applied.
func (v View) Seq() Seq { return v.st.seq }

// Now gives the cluster time of the latest entry.
func (v View) Now() Instant { return v.st.stamp.Instant }

// Wall gives the leader's wall clock at the latest entry, for display.
func (v View) Wall() int64 { return v.st.stamp.Wall }

// At gives the same state as seen at a later moment: on a quiet cluster the
// latest entry is old, and ages and countdowns are to be shown as of now.
func (v View) At(now Instant) View {
	s := *v.st
	s.stamp.Instant = max(s.stamp.Instant, now)
	s.runs.on, s.tasks.on = false, false // if v is a machine's own, what it recalls is not this copy's
	return View{st: &s}
}

// Remembers reports whether the command was applied and its
// result is kept: to give the command again gives that result, and does nothing.
func (v View) Remembers(c Command) bool {
	if !kept(c) { // no other can be there, and the table is large
		return false
	}
	_, ok := v.st.requests.Get(string(c.GetRequestId()))
	return ok
}

// ClusterID names the cluster; empty until it has been bootstrapped.
func (v View) ClusterID() string { return v.st.clusterID }

// Settings gives the replicated settings.
func (v View) Settings() Settings { return v.st.settings }

// Fork gives a machine that starts from this state and shares nothing mutable
// with it.
func (v View) Fork() *Machine { return machineOf(v.st.clone()) }

// Keys gives the token signing keys.
func (v View) Keys() []*Key { return v.st.keys.Values() }

// Key looks a key up.
func (v View) Key(id string) (*Key, bool) { return v.st.keys.Get(id) }

// Tenant looks a tenant up.
func (v View) Tenant(id TenantID) (*Tenant, bool) { return v.st.tenants.Get(id) }

// Tenants iterates over the tenants by id.
func (v View) Tenants() iter.Seq[*Tenant] { return values(v.st.tenants.Map) }

// Workflow looks a workflow up by name, without regard to case.
func (v View) Workflow(t TenantID, name string) (*Workflow, bool) {
	id, ok := v.st.names.Get(workflowKey(t, name))
	if !ok {
		return nil, false
	}
	return v.st.workflows.Get(id)
}

// WorkflowByID looks a workflow up.
func (v View) WorkflowByID(id WorkflowID) (*Workflow, bool) { return v.st.workflows.Get(id) }

// Workflows iterates over a tenant's workflows by id.
func (v View) Workflows(t TenantID) iter.Seq[*Workflow] {
	return func(yield func(*Workflow) bool) {
		v.st.workflows.Scan(func(_ WorkflowID, w *Workflow) bool { return w.Tenant != t || yield(w) })
	}
}

// Version looks a version up.
func (v View) Version(id VersionID) (*Version, bool) { return v.st.versions.Get(id) }

// Worker looks a worker up.
func (v View) Worker(id WorkerID) (*Worker, bool) { return v.st.workers.Get(id) }

// Workers iterates over all workers by id.
func (v View) Workers() iter.Seq[*Worker] { return values(v.st.workers.Map) }

// Run looks a run up.
func (v View) Run(id RunID) (*Run, bool) { return v.st.runs.Get(id) }

// Runs iterates over all runs in the order of their creation, or the reverse.
func (v View) Runs(newestFirst bool) iter.Seq[*Run] {
	return func(yield func(*Run) bool) {
		visit := func(_ Seq, id RunID) bool {
			r, ok := v.st.runs.Get(id)
			return !ok || yield(r)
		}
		if newestFirst {
			v.st.runOrder.Reverse(visit)
		} else {
			v.st.runOrder.Scan(visit)
		}
	}
}

// TaskRun looks a task run up.
func (v View) TaskRun(id TaskRunID) (*TaskRun, bool) { return v.st.tasks.Get(id) }

// Task gives the definition that a task run executes.
func (v View) Task(t *TaskRun) *Task { return v.st.taskOf(t) }

// Assignments iterates over the task runs that a worker holds, by id.
func (v View) Assignments(w WorkerID) iter.Seq[*TaskRun] {
	return func(yield func(*TaskRun) bool) { v.st.heldBy(w, yield) }
}

func (s *State) heldBy(w WorkerID, yield func(*TaskRun) bool) {
	s.held.Ascend(heldKey{worker: w}, func(k heldKey) bool {
		if k.worker != w {
			return false
		}
		t, ok := s.tasks.Get(k.task)
		return !ok || yield(t)
	})
}

// Pin looks the pin of a run up. The pin of a finished run is kept with it.
func (v View) Pin(r RunID) (*Pin, bool) { return v.st.pins.Get(r) }

// Pins iterates over the pins of live runs, by worker and run.
func (v View) Pins() iter.Seq[*Pin] {
	return func(yield func(*Pin) bool) {
		v.st.pinned.Scan(func(k pinKey) bool {
			p, ok := v.st.pins.Get(k.run)
			return !ok || yield(p)
		})
	}
}

// PinsOf iterates over the pins of live runs to one worker.
func (v View) PinsOf(w WorkerID) iter.Seq[*Pin] {
	return func(yield func(*Pin) bool) {
		v.st.pinned.Ascend(pinKey{worker: w}, func(k pinKey) bool {
			if k.worker != w {
				return false
			}
			p, ok := v.st.pins.Get(k.run)
			return !ok || yield(p)
		})
	}
}

// StartedBy counts the workflows of which an event with this key starts a run.
func (v View) StartedBy(t TenantID, key string) int { return len(v.st.startedBy(t, key)) }

// Counts are sizes for metrics.
type Counts struct {
	Runs, LiveRuns, TaskRuns, Queued, Parked, Held, Workers, Pins, Deadlines int
}

// Counts gives the sizes of the tables; O(1).
func (v View) Counts() Counts {
	s := v.st
	return Counts{
		Runs: s.runs.Len(), LiveRuns: s.runs.Len() - s.finished.Len(), TaskRuns: s.tasks.Len(),
		Queued: s.waiting.Len(), Parked: s.parked.Len(), Held: s.held.Len(),
		Workers: s.workers.Len(), Pins: s.pinned.Len(), Deadlines: s.deadlines.Len(),
	}
}

func values[K ~string, V any](m *btree.Map[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		m.Scan(func(_ K, x V) bool { return yield(x) })
	}
}
