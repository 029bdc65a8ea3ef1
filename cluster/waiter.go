package cluster

import (
	"slices"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// waiter is one command of this node until its result is applied here.
type waiter struct {
	id   string // the request id
	cmd  fsm.Command
	data []byte // cmd, serialized

	done   chan struct{} // closed when result or err is set
	result fsm.Result
	err    error
	resent bool // it was sent before; written and read by the forwarder's own goroutine

	// The rest is guarded by waiters' owner.
	callers int       // a caller may repeat a command that still waits
	until   time.Time // when they have waited long enough; zero for never
	fresh   bool      // in the list of what is to be sent
	over    bool      // answered or given up
	sentAt  time.Time // when it was last sent
	sends   int       // how often
	late    bool      // not to be sent yet
	rider   *waiter   // a report that needs no entry of its own: this one answers it
	carrier *waiter   // the one that it rides on
}

// waiters are the commands of this node that have no result yet, and what of
// them is to be sent. Not safe for concurrent use.
type waiters struct {
	byID  map[string]*waiter
	fresh []*waiter // to be sent, in order
	late  late      // to be sent later
	sent  []sending // oldest first; those that are over are dropped at the head
	bytes int       // of all in byID
	left  int       // in fresh and given up
	// repeats is how often a command was sent again for want of an answer.
	repeats int64
}

// sending is one time that a command was sent.
type sending struct {
	*waiter

	at time.Time
}

func newWaiters() waiters { return waiters{byID: map[string]*waiter{}, late: newLate()} }

// add registers a command, or joins the one with the same request id. It says whether
// there is something to be done about it now.
func (t *waiters) add(id string, cmd fsm.Command, data []byte, now time.Time) (w *waiter, wake bool) {
	if w, ok := t.byID[id]; ok {
		w.callers++
		return w, false
	}
	w = &waiter{id: id, cmd: cmd, data: data, done: make(chan struct{}), callers: 1}
	where, rider := t.late.place(w, now)
	if where == riding {
		return w, false
	}
	t.queue(t.late.before(cmd)...)
	t.keep(w)
	if where == isLate {
		return w, len(t.late.list) == 1 // whoever waits for the first sees to the others
	}
	if rider != nil {
		t.drop(rider)
	}
	t.queue(w)
	return w, true
}

// queue puts commands among what is to be sent.
func (t *waiters) queue(list ...*waiter) {
	for _, w := range list {
		w.fresh = true
	}
	t.fresh = append(t.fresh, list...)
}

func (t *waiters) keep(w *waiter) {
	t.byID[w.id] = w
	t.bytes += len(w.data)
}

func (t *waiters) drop(w *waiter) {
	delete(t.byID, w.id)
	t.bytes -= len(w.data)
}

// leave takes back a caller; the last one gives the command up.
func (t *waiters) leave(w *waiter) {
	if w.callers--; w.callers == 0 && !w.over {
		t.giveUp(w)
	}
}

// giveUp ends a command without an answer. What rides on it is to be sent.
func (t *waiters) giveUp(w *waiter) {
	w.over = true
	r := w.rider
	if r != nil {
		r.carrier = w.carrier
	}
	if w.carrier != nil {
		w.carrier.rider = r
		return
	}
	t.drop(w)
	t.late.forget(w)
	if r != nil {
		t.keep(r)
		t.queue(r)
	}
	if w.fresh {
		t.left++
		t.prune()
	}
}

// prune drops what was given up before it was sent once that is most of what is
// to be sent: while there is no leader nothing else does.
func (t *waiters) prune() {
	const few = 64
	if t.left < few || t.left*2 < len(t.fresh) {
		return
	}
	t.fresh, t.left = slices.DeleteFunc(t.fresh, func(w *waiter) bool { return w.over }), 0
}

// answer ends the wait for those of the results that are this node's. It counts
// those that asked for runs.
func (t *waiters) answer(results []fsm.Result) (runs int) {
	if len(t.byID) == 0 {
		return 0
	}
	for i := range results {
		if w, ok := t.byID[results[i].RequestID]; ok {
			if asksForRuns(w.cmd) {
				runs++
			}
			w.result = results[i]
			t.end(w)
		}
	}
	return runs
}

// fail ends the wait for a command that will never be taken.
func (t *waiters) fail(id string, err error) {
	if w, ok := t.byID[id]; ok {
		w.err = err
		t.end(w)
	}
}

// untaken notes that who a command was sent to has not taken it, and never will.
func (t *waiters) untaken(id string) {
	if w, ok := t.byID[id]; ok {
		w.sends = max(0, w.sends-1)
	}
}

// deny ends the wait for a command that was sent once and not taken. One that was
// sent again may be done by who got it later.
func (t *waiters) deny(id string, err error) {
	if w, ok := t.byID[id]; ok && w.sends == 1 && !w.fresh {
		w.err = err
		t.end(w)
	}
}

// failAll ends all waits.
func (t *waiters) failAll(err error) {
	for _, w := range t.byID {
		w.err = err
		t.end(w)
	}
}

// expire ends the waits that have lasted until now, and gives when the next has
// lasted long enough; zero for never.
func (t *waiters) expire(now time.Time, err error) (next time.Time) {
	var over []*waiter
	for _, w := range t.byID {
		for r := w; r != nil; r = r.rider {
			switch {
			case r.until.IsZero():
			case r.until.After(now):
				if next.IsZero() || r.until.Before(next) {
					next = r.until
				}
			default:
				over = append(over, r)
			}
		}
	}
	for _, w := range over {
		w.err = err
		t.giveUp(w)
		close(w.done)
	}
	return next
}

func (t *waiters) end(w *waiter) {
	t.drop(w)
	t.late.forget(w)
	for r := w; r != nil; r = r.rider {
		r.over, r.result, r.err = true, w.result, w.err
		close(r.done)
	}
}

// take gives the next commands to send, at most so many bytes of them but at
// least one, and counts them as sent.
func (t *waiters) take(maxBytes int, now time.Time) []*waiter {
	var batch []*waiter
	size, n := 0, 0
	for _, w := range t.fresh {
		if !w.over {
			if len(batch) > 0 && size+len(w.data) > maxBytes {
				break
			}
			size += len(w.data)
			w.fresh, w.sentAt = false, now
			w.resent = w.sends > 0
			w.sends++
			batch = append(batch, w)
			t.sent = append(t.sent, sending{w, now})
		}
		n++
	}
	if t.fresh = t.fresh[n:]; len(t.fresh) == 0 {
		t.fresh, t.left = nil, 0
	}
	return batch
}

// idle reports whether nothing waits, and lets go of what is over.
func (t *waiters) idle() bool {
	if len(t.byID) > 0 {
		return false
	}
	t.fresh, t.left = nil, 0
	return true
}

// freshen puts what is late no more among what is to be sent.
func (t *waiters) freshen(now time.Time) {
	t.queue(t.late.due(now)...)
}

// again puts a command back among those to be sent.
func (t *waiters) again(id string) {
	if w, ok := t.byID[id]; ok && !w.fresh {
		t.queue(w)
	}
}

// allAgain puts everything that was sent back, before what is fresh.
func (t *waiters) allAgain() {
	var list []*waiter
	for _, w := range t.sent {
		if !w.over && !w.fresh {
			w.fresh = true
			list = append(list, w.waiter)
		}
	}
	t.fresh, t.sent = append(list, t.fresh...), nil
}

// overdue puts back what was sent before the moment and has no answer.
func (t *waiters) overdue(before time.Time) {
	for len(t.sent) > 0 {
		w := t.sent[0]
		if !w.over && !w.fresh && w.at.Equal(w.sentAt) { // else it was sent again since
			if w.at.After(before) {
				return
			}
			t.queue(w.waiter)
			t.repeats++
		}
		t.sent = t.sent[1:]
	}
	t.sent = nil
}
