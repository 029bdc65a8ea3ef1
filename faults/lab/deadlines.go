package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// theReplay is the judge's own machine where hashes are compared.
const theReplay = "the judge's replay"

func hashText(hash uint64) string { return fmt.Sprintf("%016x", hash) }

// What the nodes have by default.
const (
	leaseTTL        = 15 * time.Second
	deliveryTimeout = 30 * time.Second
)

// Deadlines run on cluster time from an entry's stamp, and the judge knows when
// an entry was applied and when a worker began. slack is by how much these may
// be apart; a clock that jumps does so by more.
const (
	slack      = 10 * time.Second
	leaseSlack = time.Second
)

// evidence is what the replay has to know of what others wrote down.
type evidence struct {
	invoked  map[string]time.Duration    // when a call was made
	began    map[string]time.Duration    // when a worker began an attempt
	led      map[uint64][]time.Duration  // when the leader of a term took up its duties; it may do so again
	assigned map[fsm.TaskRunID]time.Time // the newest assignment
	hashed   map[uint64]bool             // entries after which a node wrote its hash down
}

func newEvidence() evidence {
	return evidence{
		invoked: map[string]time.Duration{}, began: map[string]time.Duration{}, led: map[uint64][]time.Duration{},
		assigned: map[fsm.TaskRunID]time.Time{}, hashed: map[uint64]bool{},
	}
}

// learn takes what clients, workers and nodes wrote down.
func (r *replayer) learn(h history.History, hashes []record) {
	for _, e := range h {
		switch {
		case e.Kind == history.Invoke && e.Op == history.OpTrigger:
			r.seen.invoked[e.Call] = e.At
		case e.Kind == history.Begin:
			r.seen.began[attemptName(e.TaskRun, e.Attempt)] = e.At
		case e.Kind == history.Leader:
			r.seen.led[e.Term] = append(r.seen.led[e.Term], e.At)
		}
	}
	for _, n := range hashes {
		r.seen.hashed[n.index] = true
		r.into.AddAt(n.at, history.Event{Kind: history.Hash, Node: n.node, Index: n.index, Hash: hashText(n.hash)})
	}
}

func attemptName(taskRun string, attempt int32) string { return fmt.Sprint(taskRun, "/", attempt) }

// invokedFor gives when a client asked for the run.
func (r *replayer) invokedFor(v fsm.View, id fsm.RunID) (since time.Duration, ok bool) {
	run, ok := v.Run(id)
	if !ok {
		return 0, false
	}
	var metadata map[string]any
	_ = json.Unmarshal(run.Metadata, &metadata) // there may be none
	call, _ := metadata[callName].(string)
	since, ok = r.seen.invoked[call]
	return since, ok
}

func (r *replayer) fired(t *fsm.TaskRun, cause string, since, limit time.Duration) {
	r.add(history.Event{
		Kind: history.Fired, Run: string(t.Run), TaskRun: string(t.ID), Attempt: t.Attempt, Worker: string(t.Worker), Cause: cause, Since: since, Limit: limit,
	})
}

// unscheduled tells of a schedule timeout: it cannot come sooner than that after
// the call.
func (r *replayer) unscheduled(v fsm.View, t *fsm.TaskRun) {
	if since, ok := r.invokedFor(v, t.Run); ok {
		r.fired(t, "schedule timeout", since, scheduleTimeout)
	}
}

// overrun tells of an execution timeout, which counts from when the worker has
// begun, or, if it does not say, from the call.
func (r *replayer) overrun(v fsm.View, t, old *fsm.TaskRun) {
	if began, ok := r.seen.began[attemptName(string(old.ID), old.Attempt)]; ok {
		r.fired(old, "execution timeout", began, executionTimeout-slack)
	} else if since, ok := r.invokedFor(v, t.Run); ok {
		r.fired(old, "execution timeout", since, executionTimeout)
	}
}

// undelivered tells of an assignment that was taken back because its worker did
// not say that it has started.
func (r *replayer) undelivered(old *fsm.TaskRun) {
	r.fired(old, check.CauseDelivery, r.into.Since(r.seen.assigned[old.ID]), deliveryTimeout-slack)
}

// stream tells when a worker gets a stream, and loses it.
func (r *replayer) stream(w *fsm.Worker) {
	session := w.Lease.Session
	if w.Lease.State != fsm.LeaseLive {
		session = "" // kept for display
	}
	if r.streams[w.ID] == session {
		return
	}
	r.streams[w.ID] = session
	kind := history.WorkerAttach
	if session == "" {
		kind = history.WorkerDetach
	}
	r.add(history.Event{Kind: kind, Worker: string(w.ID), Node: string(w.Lease.Node)})
}

// lost judges the loss of a lease by silence: the leader must have led for a TTL
// in which it could have heard of the worker.
func (r *replayer) lost(w *fsm.Worker) {
	reason := w.Lease.Reason
	if !strings.Contains(reason, "no heartbeat for") && !strings.Contains(reason, "neither stream") && !strings.Contains(reason, "no stream for") {
		return
	}
	led, ok := r.reign()
	if !ok {
		return
	}
	r.add(history.Event{
		Kind: history.Fired, Worker: string(w.ID), Cause: "the loss of a lease after an election (" + reason + ")", Since: led, Limit: leaseTTL - leaseSlack,
	})
}

// reign gives when the leader took up the duties that it had at the entry that is
// played: the newest time of its term that is not after it.
func (r *replayer) reign() (since time.Duration, ok bool) {
	for _, led := range r.seen.led[r.term] {
		if led <= r.into.Since(r.at) && (!ok || led > since) {
			since, ok = led, true
		}
	}
	return since, ok
}
