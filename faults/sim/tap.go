package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// hashEvery is how often the states of the nodes are compared, in entries.
const hashEvery = 16

// tap listens at the log: who wrote an entry first, and what each entry has
// changed in the state. The state's words go into the history once, told by the
// node that applies an entry first.
type tap struct {
	rec *history.Recorder

	mu      sync.Mutex
	offset  map[string]clock
	walls   map[wallKey]time.Duration // when a node looked at its wall clock
	writers map[[2]uint64]string      // index, term -> node
	began   map[uint64]time.Duration  // term -> its first entry
	heard   map[[2]string]time.Duration
	slow    time.Duration // the disks were slow until then
	last    uint64
	at      map[string]uint64 // node -> its newest entry
	instant map[fsm.Instant]time.Duration
	seen    seen
}

type wallKey struct {
	node string
	wall int64
}

// clock is a wrong wall clock: an offset, and a drift since some moment.
type clock struct {
	offset time.Duration
	drift  float64 // seconds per second
	since  time.Time
}

func newTap(rec *history.Recorder) *tap {
	return &tap{
		rec: rec, offset: map[string]clock{}, walls: map[wallKey]time.Duration{}, writers: map[[2]uint64]string{},
		began: map[uint64]time.Duration{}, at: map[string]uint64{}, heard: map[[2]string]time.Duration{}, instant: map[fsm.Instant]time.Duration{},
		seen: newSeen(),
	}
}

// setClock makes a node's wall clock wrong.
func (t *tap) setClock(node string, offset time.Duration, drift float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offset[node] = clock{offset, drift, time.Now()}
}

// wall is a node's wall clock.
func (t *tap) wall(node string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	c := t.offset[node]
	wall := now.Add(c.offset)
	if !c.since.IsZero() {
		wall = wall.Add(time.Duration(c.drift * float64(now.Sub(c.since))))
	}
	t.walls[wallKey{node, wall.UnixNano()}] = t.rec.Since(now)
	return wall
}

// disksSlow keeps the times of what is written until then from being judged.
func (t *tap) disksSlow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slow = t.rec.Since(time.Now())
}

// heartbeat notes that a node has heard of a worker.
func (t *tap) heartbeat(node, worker string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard[[2]string{node, worker}] = t.rec.Since(time.Now())
}

// wrote notes who begins to write an entry first: its proposer.
func (t *tap) wrote(node string, l *raft.Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]uint64{l.Index, l.Term}
	if t.writers[key] != "" {
		return
	}
	t.writers[key] = node
	if _, ok := t.began[l.Term]; !ok {
		t.began[l.Term] = t.rec.Since(time.Now())
		if l.Type == raft.LogNoop {
			t.rec.Add(history.Event{Kind: history.Leader, Node: node, Term: l.Term})
		}
	}
	t.rec.Add(history.Event{Kind: history.Proposed, Node: node, Term: l.Term, Index: l.Index})
}

// restored notes that a node reads a snapshot.
func (t *tap) restored(node string) { t.rec.Add(history.Event{Kind: history.Restored, Node: node}) }

// applied is called by every node after every entry.
func (t *tap) applied(node string, index, term uint64, e *fsm.Entry, v fsm.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at[node] = index
	if index%hashEvery == 0 {
		t.rec.Add(history.Event{Kind: history.Hash, Node: node, Index: index, Hash: fmt.Sprintf("%016x", v.Hash())})
	}
	if index <= t.last {
		return
	}
	t.last = index
	proposer := t.writers[[2]uint64{index, term}]
	at, ok := t.walls[wallKey{proposer, e.Stamp.Wall}]
	if !ok {
		at = t.rec.Since(time.Now())
	}
	t.instant[e.Stamp.Instant] = at
	d := &diff{tap: t, before: &t.seen, view: v, proposer: proposer, term: term, index: index, at: at, instant: e.Stamp.Instant}
	d.run()
}

// seen is what the state held after the latest entry.
type seen struct {
	workers map[fsm.WorkerID]*fsm.Worker
	runs    map[fsm.RunID]*fsm.Run
	tasks   map[fsm.TaskRunID]*fsm.TaskRun
	pins    map[fsm.RunID]*fsm.Pin
}

func newSeen() seen {
	return seen{
		workers: map[fsm.WorkerID]*fsm.Worker{}, runs: map[fsm.RunID]*fsm.Run{},
		tasks: map[fsm.TaskRunID]*fsm.TaskRun{}, pins: map[fsm.RunID]*fsm.Pin{},
	}
}

// diff tells what one entry has changed.
type diff struct {
	tap      *tap
	before   *seen
	view     fsm.View
	proposer string
	term     uint64
	index    uint64
	at       time.Duration // when the entry was stamped, by the true clock
	instant  fsm.Instant

	// An entry's changes are told in an order in which each is allowed by those
	// before it.
	losses, ends, pins, leases, assigns, finals []history.Event
}

func (d *diff) run() {
	for w := range d.view.Workers() {
		if old := d.before.workers[w.ID]; old != w {
			d.worker(old, w)
			d.before.workers[w.ID] = w
		}
	}
	for r := range d.view.Runs(true) {
		for _, id := range r.Tasks {
			if t, ok := d.view.TaskRun(id); ok && d.before.tasks[id] != t {
				d.task(d.before.tasks[id], t)
				d.before.tasks[id] = t
			}
		}
		p, _ := d.view.Pin(r.ID)
		if old := d.before.pins[r.ID]; old != p {
			d.pin(old, p, r.ID)
			d.before.pins[r.ID] = p
		}
		if old := d.before.runs[r.ID]; old != r {
			if r.Status.Final() && (old == nil || !old.Status.Final() || old.FinishedAt != r.FinishedAt) {
				d.finals = append(d.finals, history.Event{Kind: history.RunFinal, Run: string(r.ID), Status: r.Status.String(), Output: outcome(d.view, r)})
			}
			d.before.runs[r.ID] = r
		}
	}
	for _, list := range [][]history.Event{d.losses, d.ends, d.pins, d.leases, d.assigns, d.finals} {
		for _, e := range list {
			e.Term, e.Index, e.Seq, e.Node = d.term, d.index, uint64(d.view.Seq()), d.proposer
			d.tap.rec.Add(e)
		}
	}
}

func (d *diff) worker(old, w *fsm.Worker) {
	e := history.Event{
		Kind: history.Lease, Worker: string(w.ID), Epoch: w.Lease.Epoch, Status: w.Lease.State.String(), Mode: w.Mode.String(),
		Detail: w.Lease.Reason,
	}
	if old == nil {
		d.leases = append(d.leases, e)
		return
	}
	if old.Lease.State != fsm.LeaseLost && old.Lease.Epoch < w.Lease.Epoch { // lost and back in one entry
		lost := e
		lost.Epoch, lost.Status = old.Lease.Epoch, history.LeaseLost
		d.losses = append(d.losses, lost)
	}
	switch {
	case old.Lease.State != fsm.LeaseLost && w.Lease.State == fsm.LeaseLost:
		d.losses = append(d.losses, e)
		d.lost(old, w)
	case w.Mode == fsm.ModeDraining:
		d.losses = append(d.losses, e)
	case old.Lease != w.Lease || old.Mode != w.Mode:
		d.leases = append(d.leases, e)
	}
}

// lost judges the loss of a lease by silence: the leader must have been silent
// about it for its first TTL, and must not have heard of the worker itself.
func (d *diff) lost(old, w *fsm.Worker) {
	reason := w.Lease.Reason
	if !strings.Contains(reason, "no heartbeat") && !strings.Contains(reason, "neither stream") && !strings.Contains(reason, "no stream for") {
		return
	}
	fired := history.Event{Kind: history.Fired, Worker: string(w.ID), Cause: "the loss of a lease after an election (" + reason + ")", Detail: reason}
	fired.Since, fired.Limit = d.tap.began[d.term], leaseTTL
	d.fired(fired)
	if strings.Contains(reason, "no stream for") {
		return
	}
	// Younger ones may not have reached the judge.
	heard, ok := d.tap.heard[[2]string{d.proposer, string(w.ID)}]
	if !ok || heard > d.at-time.Second || d.tap.slow > d.at-3*leaseTTL {
		return
	}
	fired.Cause, fired.Since, fired.Limit = "the loss of a lease by silence ("+reason+")", heard, leaseTTL
	if old.Lease.State == fsm.LeaseSuspect && strings.Contains(reason, "no heartbeat for "+leaseGrace.String()) {
		fired.Limit = leaseGrace
	}
	d.fired(fired)
}

// fired adds a deadline that must not have come before its time.
func (d *diff) fired(e history.Event) {
	e.Node, e.Term, e.Index = d.proposer, d.term, d.index
	d.tap.rec.AddAt(d.tap.rec.Start().Add(d.at), e)
}

// due tells of a deadline of the state. The waiting began with an entry, whose
// true time is known.
func (d *diff) due(t *fsm.TaskRun, cause string, deadline fsm.Instant, limit time.Duration) {
	since, ok := d.tap.instant[deadline.Add(-limit)]
	if !ok {
		return
	}
	d.fired(history.Event{
		Kind: history.Fired, TaskRun: string(t.ID), Run: string(t.Run), Attempt: t.Attempt, Worker: string(t.Worker), Cause: cause, Since: since, Limit: limit,
	})
}

func (d *diff) task(old, t *fsm.TaskRun) {
	wasHeld := old != nil && old.Status.Held()
	if wasHeld && (!t.Status.Held() || t.Attempt != old.Attempt) {
		e := history.Event{
			Kind: history.Ended, Run: string(t.Run), TaskRun: string(t.ID), Attempt: old.Attempt, Worker: string(old.Worker),
			Status: t.Status.String(), Detail: t.Error,
		}
		if t.Status == fsm.Completed {
			e.Output, e.Attempt = string(t.Output), t.Attempt
		}
		d.ends = append(d.ends, e)
	}
	if t.Status.Held() && (!wasHeld || t.Attempt != old.Attempt) {
		d.assigns = append(d.assigns, history.Event{
			Kind: history.Assigned, Run: string(t.Run), TaskRun: string(t.ID), Task: d.view.Task(t).Name, Attempt: t.Attempt, Worker: string(t.Worker),
			Epoch: t.Epoch, Cause: t.Reason, Lender: string(t.Lender), Strategy: d.strategy(t),
		})
	}
	if t.Status == fsm.Running && (old == nil || old.Status != fsm.Running || t.Attempt != old.Attempt) {
		d.assigns = append(d.assigns, history.Event{
			Kind: history.Begun, Run: string(t.Run), TaskRun: string(t.ID), Attempt: t.Attempt, Worker: string(t.Worker),
		})
	}
	if old == nil || old.Status == t.Status {
		return
	}
	def := d.view.Task(t)
	switch {
	case old.Status == fsm.Queued && strings.HasPrefix(t.Error, "SCHEDULE_TIMEOUT"):
		d.due(t, "the schedule timeout", old.ScheduleBy, or(def.ScheduleTimeout, scheduleTimeout))
	case old.Status == fsm.Running && strings.HasPrefix(t.Error, "TIMED_OUT"):
		d.due(t, "the execution timeout", old.ExecuteBy, or(def.ExecutionTimeout, executeTimeout))
	case old.Status == fsm.Assigned && t.Requeues > old.Requeues && d.instant >= old.Deadline:
		d.due(old, check.CauseDelivery, old.Deadline, deliveryTimeout)
	}
}

func or(a, b time.Duration) time.Duration {
	if a != 0 {
		return a
	}
	return b
}

func (d *diff) strategy(t *fsm.TaskRun) string {
	v, ok := d.view.Version(t.Version)
	if !ok || v.Sticky == fsm.StrategyNone {
		return ""
	}
	return v.Sticky.String()
}

func (d *diff) pin(old, p *fsm.Pin, run fsm.RunID) {
	if old != nil && (p == nil || p.Worker != old.Worker && p.Cause != fsm.PinMoved && p.Cause != fsm.PinOperator) {
		d.pins = append(d.pins, history.Event{Kind: history.Unpinned, Run: string(run), Worker: string(old.Worker)})
	}
	if p == nil || old != nil && old.Worker == p.Worker && old.Cause == p.Cause {
		return
	}
	d.pins = append(d.pins, history.Event{
		Kind: history.Pinned, Run: string(run), Worker: string(p.Worker), From: string(p.From), Strategy: p.Strategy.String(), Cause: p.Cause.String(),
	})
}

// outcome is a run's result in one line.
func outcome(v fsm.View, r *fsm.Run) string {
	var b strings.Builder
	for _, id := range r.Tasks {
		if t, ok := v.TaskRun(id); ok {
			fmt.Fprintf(&b, "%s %s;", t.Status, t.Output)
		}
	}
	return b.String()
}

// compare adds the hashes of the nodes that are at the newest entry.
func (t *tap) compare(w *world) {
	for _, name := range w.others() {
		if p := w.proc(name); p != nil {
			t.mu.Lock()
			index := t.at[name]
			t.mu.Unlock()
			t.rec.Add(history.Event{Kind: history.Hash, Node: name, Index: index, Hash: fmt.Sprintf("%016x", p.node.View().Hash())})
		}
	}
}
