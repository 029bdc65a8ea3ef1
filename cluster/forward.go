package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	requestIDSize   = 16
	maxCommandBytes = 16 << 20
	maxBatchBytes   = 1 << 20
	// holdAfterRefusal is the pause before commands that a node did not take
	// are sent again.
	holdAfterRefusal = 50 * time.Millisecond
	forwardTick      = 100 * time.Millisecond
	// alarmEvery is the least time between two looks for callers that have waited
	// long enough, and how late one may be let go.
	alarmEvery = 10 * time.Millisecond
)

// route is where this node's commands go now: the proposer of this node or a
// connection to the leader. Another route means that whatever was sent over the
// old one may be lost.
type route interface {
	// send hands over commands; those refused at once come back.
	send(batch []*waiter) ([]refusal, error)
}

// refusal is commands that a leader did not take.
type refusal struct {
	reason limpetv1.PeerRefused_Reason
	ids    []string
	after  time.Duration // of SATURATED: when to try again
}

// forwarder takes this node's commands to the leader, wherever that is, and
// keeps each until its result is applied here. It sends everything again when
// the route changes: the request ids make that harmless.
type forwarder struct {
	find        func(context.Context) route // nil when no leader is known
	resendAfter time.Duration
	maxWaiting  int
	// remembers reports whether a command was applied; may be nil.
	remembers func(fsm.Command) bool

	mu     sync.Mutex
	table  waiters
	closed bool
	hold   time.Time // send nothing before
	limit  throttle

	alarm   *time.Timer // one for all callers, as it seldom rings; nil until it is first needed
	soonest time.Time   // when it rings; zero if it does not

	wake chan struct{}
}

func newForwarder(find func(context.Context) route, resendAfter time.Duration, maxWaiting int) *forwarder {
	return &forwarder{
		find: find, resendAfter: resendAfter, maxWaiting: maxWaiting,
		table: newWaiters(), wake: make(chan struct{}, 1),
	}
}

// forever is a wait that has no end of its own.
const forever = time.Duration(math.MaxInt64)

// propose registers a command and waits for its result, for so long at most; beside
// others that wait for the same command, as long as the most patient of them.
func (f *forwarder) propose(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error) {
	w, err := f.register(cmd, hold)
	if err != nil {
		return fsm.Result{}, fmt.Errorf("propose: %w", err)
	}
	select {
	case <-w.done:
		return w.result, w.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.table.leave(w)
	f.mu.Unlock()
	select {
	case <-w.done: // the result came at the last moment
		return w.result, w.err
	default:
		return fsm.Result{}, fmt.Errorf("propose: %w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func (f *forwarder) register(cmd fsm.Command, hold time.Duration) (*waiter, error) {
	if cmd.GetKind() == nil {
		return nil, errors.New("the command is empty")
	}
	if len(cmd.GetRequestId()) == 0 {
		cmd.RequestId = newRequestID()
	}
	if err := f.throttle(cmd); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	if len(data) > maxCommandBytes {
		return nil, fmt.Errorf("the command has %d bytes; %d are allowed: split it", len(data), maxCommandBytes)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	if err := f.full(cmd, len(data)); err != nil {
		return nil, err
	}
	w, wake := f.table.add(string(cmd.GetRequestId()), cmd, data, time.Now())
	f.bound(w, hold)
	if wake {
		signal(f.wake)
	}
	return w, nil
}

// bound notes when a caller has waited long enough. Callers of one command wait as
// long as the most patient of them. The caller holds mu.
func (f *forwarder) bound(w *waiter, hold time.Duration) {
	joined := w.callers > 1
	if hold == forever || joined && w.until.IsZero() {
		w.until = time.Time{}
		return
	}
	if until := time.Now().Add(hold); until.After(w.until) {
		w.until = until
	}
	if f.soonest.IsZero() || w.until.Before(f.soonest) {
		f.ring(w.until)
	}
}

// ring has expire called at that time. The caller holds mu.
func (f *forwarder) ring(at time.Time) {
	f.soonest = at
	if f.alarm == nil {
		f.alarm = time.AfterFunc(time.Until(at), f.expire)
		return
	}
	f.alarm.Reset(time.Until(at))
}

// errWaited: the caller has waited for as long as it may.
var errWaited = fmt.Errorf("propose: %w: %w", ErrUnavailable, context.DeadlineExceeded)

// expire ends the waits that have lasted long enough.
func (f *forwarder) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.soonest = f.table.expire(now, errWaited); f.soonest.IsZero() {
		return
	}
	if soon := now.Add(alarmEvery); f.soonest.Before(soon) { // each ring looks at all of them
		f.soonest = soon
	}
	f.ring(f.soonest)
}

// throttle refuses new runs here while the leader would most likely do so.
func (f *forwarder) throttle(cmd fsm.Command) error {
	if !throttled(cmd) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limit.saturated(time.Now()) || f.remembers != nil && f.remembers(cmd) {
		return nil
	}
	if _, ok := f.table.byID[string(cmd.GetRequestId())]; ok || f.limit.admit(time.Now()) {
		return nil // a command that waits here already may have been done
	}
	return &SaturatedError{After: f.limit.advice}
}

// inherits reports whether a leader was saturated lately.
func (f *forwarder) inherits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limit.inherits(time.Now())
}

// load is what a node knows that does not lead.
func (f *forwarder) load() LoadInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return LoadInfo{Saturated: f.limit.saturated(time.Now()), Refused: f.limit.total, Repeats: f.table.repeats}
}

// newRequestID joins a command to its result and its retries to each other.
func newRequestID() []byte {
	id := make([]byte, requestIDSize)
	rand.Read(id)
	return id
}

// answer hands out results that this node has applied.
func (f *forwarder) answer(results []fsm.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit.taken += f.table.answer(results)
}

// resendAll forgets what was sent.
func (f *forwarder) resendAll() {
	f.mu.Lock()
	f.table.allAgain()
	f.mu.Unlock()
	signal(f.wake)
}

// refused takes back commands that were not taken.
func (f *forwarder) refused(r refusal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range r.ids {
		switch r.reason {
		case limpetv1.PeerRefused_UNKNOWN_COMMAND:
			f.table.fail(id, errors.New("propose: the leader's build does not know this command: upgrade all nodes"))
		case limpetv1.PeerRefused_SATURATED:
			f.limit.refused(r.after, time.Now())
			f.table.deny(id, fmt.Errorf("propose: %w", &SaturatedError{After: r.after}))
		case limpetv1.PeerRefused_NOT_LEADER, limpetv1.PeerRefused_OVERLOADED:
			f.table.again(id)
			f.table.untaken(id)
		default: // of a newer build
			f.table.again(id)
		}
	}
	if r.reason != limpetv1.PeerRefused_SATURATED { // the others need not wait for the next try
		f.hold = time.Now().Add(holdAfterRefusal)
	}
}

// close refuses new commands and lets go of those that wait.
func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	f.table.failAll(fmt.Errorf("propose: %w: the node stops", ErrUnavailable))
	if f.alarm != nil {
		f.alarm.Stop()
	}
}

// run sends until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	tick, pause := time.NewTicker(forwardTick), time.NewTimer(forwardTick)
	defer tick.Stop()
	defer pause.Stop()
	rings := time.Now().Add(forwardTick) // the pause; zero once it has
	var last route
	for {
		wait := f.waiting()
		if at := time.Now().Add(wait); wait > 0 && (rings.IsZero() || at.Before(rings)) { // to set a timer may cost a call of the system
			pause.Reset(wait)
			rings = at
		}
		if wait > 0 || wait == nothing {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
			case <-tick.C:
			case <-pause.C:
				rings = time.Time{}
			}
		}
		if ctx.Err() != nil {
			return
		}
		last = f.step(ctx, last)
	}
}

// nothing is waiting's answer when there is nothing to send.
const nothing = time.Duration(-1)

// waiting says how long to wait before the next step.
func (f *forwarder) waiting() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, late := time.Now(), time.Duration(0)
	if len(f.table.fresh) == 0 {
		if late = f.table.late.wait(now); late == nothing {
			return nothing
		}
	}
	return max(late, f.hold.Sub(now))
}

// step sends one batch over the route of the moment, and gives that route.
func (f *forwarder) step(ctx context.Context, last route) route {
	now := time.Now()
	f.mu.Lock()
	f.table.overdue(now.Add(-f.resendAfter))
	f.table.freshen(now) // also while there is nobody to send to: what is given up goes
	idle := f.table.idle()
	f.mu.Unlock()
	if idle {
		return last
	}
	to := f.find(ctx)
	if to != last {
		f.mu.Lock()
		f.table.allAgain()
		f.mu.Unlock()
	}
	if to == nil {
		f.pause()
		return nil
	}
	f.mu.Lock()
	var batch []*waiter
	if !time.Now().Before(f.hold) {
		batch = f.table.take(maxBatchBytes, time.Now())
	}
	f.mu.Unlock()
	if len(batch) == 0 {
		return to
	}
	refused, err := to.send(batch)
	if err != nil {
		f.pause()
		return nil // whatever route comes next, everything is sent again
	}
	for _, r := range refused {
		f.refused(r)
	}
	return to
}

// pause keeps the loop from turning while there is nobody to send to.
func (f *forwarder) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = time.Now().Add(holdAfterRefusal)
}
