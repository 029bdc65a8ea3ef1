package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// replayer plays the log that the nodes wrote down on a machine of the judge's
// own, one command at a time, and tells what each changed.
type replayer struct {
	machine *fsm.Machine
	into    *history.Recorder
	at      time.Time // of the entry that is played

	held    map[fsm.TaskRunID]fsm.TaskRun // assignments that are live
	pins    map[fsm.RunID]fsm.WorkerID
	leases  map[fsm.WorkerID]string
	status  map[fsm.RunID]fsm.Status
	streams map[fsm.WorkerID]fsm.SessionID
	seen    evidence
	calls   map[string]string    // the run that a call has started
	callOf  map[fsm.RunID]string // and the other way

	now      fsm.Instant // cluster time of the entry that is played
	term     uint64
	want     uint64   // the seq at which nodes told their hash
	wantHash string   // the newest hash there
	hashes   []string // all: deadlines change the state and not the seq
}

func newReplayer(into *history.Recorder) *replayer {
	return &replayer{
		machine: fsm.NewMachine(), into: into, held: map[fsm.TaskRunID]fsm.TaskRun{}, pins: map[fsm.RunID]fsm.WorkerID{},
		leases: map[fsm.WorkerID]string{}, status: map[fsm.RunID]fsm.Status{}, streams: map[fsm.WorkerID]fsm.SessionID{}, seen: newEvidence(), calls: map[string]string{}, callOf: map[fsm.RunID]string{},
	}
}

// play applies all entries.
func (r *replayer) play(log []record) error {
	for _, e := range log {
		entry, err := fsm.DecodeEntry(e.data)
		if err != nil {
			return fmt.Errorf("entry %d of the journal: %w", e.index, err)
		}
		r.at, r.now, r.term = e.at, entry.Stamp.Instant, e.term
		r.tell(r.machine.Begin(entry.Stamp).Effects)
		for i := range entry.Commands {
			r.tell(r.machine.ApplyCommands(entry.Commands[i : i+1]).Effects)
		}
		if r.seen.hashed[e.index] {
			r.add(history.Event{Kind: history.Hash, Node: theReplay, Index: e.index, Hash: hashText(r.machine.View().Hash())})
		}
		if r.want != 0 && uint64(r.machine.Peek().Seq()) == r.want {
			r.wantHash = hashText(r.machine.View().Hash())
			r.hashes = append(r.hashes, r.wantHash)
		}
	}
	return nil
}

func (r *replayer) add(e history.Event) { r.into.AddAt(r.at, e) }

// tell compares what the effects name with what was told of it before.
func (r *replayer) tell(effects []fsm.Effect) {
	v := r.machine.Peek()
	seen := map[fsm.Effect]bool{}
	for _, e := range effects {
		if e.Kind == fsm.WorkerChanged && !seen[e] {
			seen[e] = true
			r.lease(v, fsm.WorkerID(e.ID))
		}
	}
	for _, e := range effects {
		e.Kind = fsm.RunChanged
		if run, ok := v.Run(fsm.RunID(e.ID)); ok && !seen[e] {
			seen[e] = true
			r.run(v, run)
		}
	}
}

func (r *replayer) lease(v fsm.View, id fsm.WorkerID) {
	w, ok := v.Worker(id)
	if !ok {
		return
	}
	r.stream(w)
	now := fmt.Sprint(w.Lease.Epoch, w.Lease.State, w.Mode)
	if r.leases[id] == now {
		return
	}
	r.leases[id] = now
	r.add(history.Event{
		Kind: history.Lease, Worker: string(id), Epoch: w.Lease.Epoch, Status: w.Lease.State.String(), Mode: w.Mode.String(), Detail: w.Lease.Reason,
	})
	if w.Lease.State == fsm.LeaseLost {
		r.lost(w)
	}
}

func (r *replayer) run(v fsm.View, run *fsm.Run) {
	strategy := ""
	if version, ok := v.Version(run.Version); ok {
		strategy = version.Sticky.String()
	}
	before, known := r.status[run.ID]
	if !known {
		r.created(run)
	}
	for _, id := range run.Tasks { // what ended comes before what began
		r.ended(v, id)
	}
	pin, pinned := v.Pin(run.ID)
	switch old := r.pins[run.ID]; {
	case pinned && old != pin.Worker:
		r.pins[run.ID] = pin.Worker
		r.add(history.Event{Kind: history.Pinned, Run: string(run.ID), Worker: string(pin.Worker), From: string(old), Strategy: strategy, Cause: pin.Cause.String()})
	case !pinned && old != "":
		delete(r.pins, run.ID)
		r.add(history.Event{Kind: history.Unpinned, Run: string(run.ID), Worker: string(old)})
	}
	for _, id := range run.Tasks {
		r.assigned(v, id, strategy)
	}
	r.status[run.ID] = run.Status
	if run.Status.Final() && (!known || !before.Final()) {
		state, out := finalOf(v, run)
		r.add(history.Event{Kind: history.RunFinal, Run: string(run.ID), Status: state, Output: out, Detail: run.Status.String()})
	}
}

// created notes which call of a client has started the run.
func (r *replayer) created(run *fsm.Run) {
	var metadata map[string]any
	if run.ParentRun != "" || json.Unmarshal(run.Metadata, &metadata) != nil {
		return // a child has the metadata of its parent
	}
	if call, ok := metadata[callName].(string); ok {
		r.calls[call], r.callOf[run.ID] = string(run.ID), call
	}
}

// finalOf gives a final run as a client is told of it: whether it completed, and
// what its tasks gave.
func finalOf(v fsm.View, run *fsm.Run) (state, out string) {
	if run.Status != fsm.Completed {
		return history.Failed, ""
	}
	tasks := map[string]json.RawMessage{}
	for _, id := range run.Tasks {
		if t, ok := v.TaskRun(id); ok && t.Status == fsm.Completed {
			tasks[v.Task(t).Name] = t.Output
		}
	}
	return history.Completed, outputOf(tasks)
}

// ended tells of an assignment that is over, or is another by now.
func (r *replayer) ended(v fsm.View, id fsm.TaskRunID) {
	old, was := r.held[id]
	t, ok := v.TaskRun(id)
	if !ok {
		return
	}
	if !was {
		if t.Status == fsm.Failed && strings.HasPrefix(t.Error, "SCHEDULE_TIMEOUT") {
			r.unscheduled(v, t)
		}
		return
	}
	if t.Status.Held() && t.Attempt == old.Attempt && t.Worker == old.Worker {
		r.held[id] = *t
		return
	}
	delete(r.held, id)
	e := history.Event{
		Kind: history.Ended, Run: string(t.Run), TaskRun: string(id), Worker: string(old.Worker), Attempt: old.Attempt, Epoch: old.Epoch,
		Status: t.Status.String(), Detail: t.Error,
	}
	if t.Status == fsm.Completed {
		e.Attempt, e.Output = t.Attempt, string(t.Output)
	}
	r.add(e)
	switch {
	case strings.HasPrefix(t.Error, "TIMED_OUT"):
		r.overrun(v, t, &old)
	case old.Status == fsm.Assigned && t.Requeues > old.Requeues && r.now >= old.Deadline:
		r.undelivered(&old)
	}
}

func (r *replayer) assigned(v fsm.View, id fsm.TaskRunID, strategy string) {
	t, ok := v.TaskRun(id)
	if _, told := r.held[id]; !ok || told || !t.Status.Held() {
		return
	}
	r.held[id] = *t
	r.seen.assigned[t.ID] = r.at
	r.add(history.Event{
		Kind: history.Assigned, Run: string(t.Run), TaskRun: string(id), Worker: string(t.Worker), Attempt: t.Attempt, Epoch: t.Epoch,
		Strategy: strategy, Cause: t.Reason, Lender: string(t.Lender), Task: v.Task(t).Name,
	})
}

// kept tells what the state holds at the end, and its hash.
func (r *replayer) kept() (runs, open int) {
	v := r.machine.View()
	for run := range v.Runs(false) {
		e := history.Event{Kind: history.Kept, Run: string(run.ID), Status: run.Status.String(), Call: r.callOf[run.ID]}
		runs++
		if !run.Status.Final() {
			open++
			for _, id := range run.Tasks {
				if t, ok := v.TaskRun(id); ok && !t.Status.Final() {
					code, why := v.WaitReason(t)
					e.Detail += fmt.Sprintf("task %s is %s, attempt %d, at worker %q: %s %s; ", v.Task(t).Name, t.Status, t.Attempt, t.Worker, code, why)
				}
			}
		}
		r.add(e)
	}
	return runs, open
}

// hashLike gives the hash at the wanted seq that nodes told too, else the newest.
func (r *replayer) hashLike(told []string) string {
	for _, h := range r.hashes {
		if slices.Contains(told, h) {
			return h
		}
	}
	return r.wantHash
}
