package session

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
	"github.com/limpet-dev/limpet/transport"
)

const (
	// attachHold is how long a stream that opens during an election waits.
	attachHold = 10 * time.Second
	// detachFor is how long an ended session is reported.
	detachFor   = 30 * time.Second
	detachPause = 200 * time.Millisecond
	// vouchEvery is how often a stream of the older kind vouches for its worker.
	vouchEvery = 4 * time.Second
	// goodbyeFor is how long the stream of a worker that has left may stay open.
	goodbyeFor = 10 * time.Second
)

// Stream is one call of a worker for its assignments.
type Stream struct {
	Worker fsm.WorkerID
	// Incarnation is the start of the worker's process; empty if it did not say.
	Incarnation string
	// Send sends one order to the worker; it may block on a slow one.
	Send func(*compat.AssignedAction) error
	// Opened is called once the cluster knows of the session; may be nil.
	Opened func()
	// Vouches: the open stream itself counts as the worker's heartbeat.
	Vouches bool
}

// session is one stream of one worker. All but notify runs on one goroutine.
type session struct {
	hub        *Hub
	stream     Stream
	id         fsm.SessionID
	wake       chan struct{}
	superseded chan struct{} // closed when a newer stream of the worker is here

	sent map[fsm.TaskRunID]sent
	// held and list are what the worker holds, while compare looks at it; they are
	// kept because it does so for every entry.
	held map[fsm.TaskRunID]int32
	list []*fsm.TaskRun
	// doubtful are attempts that were assigned before this session: an earlier
	// one may have delivered them. Nil once they have waited long enough.
	doubtful map[fsm.TaskRunID]int32
	// doubtFor is how long they are to wait from the attach on.
	doubtFor time.Duration
}

// sent is an attempt that the worker has been told to start.
type sent struct {
	attempt   int32
	requeues  int32
	executeBy fsm.Instant // once it runs
}

// Serve serves a worker's stream until it ends; the error says why and is never
// nil. Errors are status errors, refusals or the context's.
func (h *Hub) Serve(ctx context.Context, st Stream) error {
	// Who is not the worker must not end the stream of who is.
	if w, ok := h.cfg.Backend.View().Worker(st.Worker); ok {
		if no := w.Stranger(st.Incarnation); no != nil {
			return no
		}
	}
	s, gate, err := h.open(st)
	if err != nil {
		return err
	}
	h.cfg.Backend.Vouch(st.Worker)
	s.doubt(h.cfg.Backend.View(), h.cfg.RedeliverAfter)
	if err = s.attach(ctx); err == nil {
		if st.Opened != nil {
			st.Opened()
		}
		h.cfg.Logger.Debug("session opened", "worker", st.Worker, "session", s.id)
		err = s.run(ctx, gate)
	}
	h.cfg.Logger.Debug("session ended", "worker", st.Worker, "session", s.id, "reason", err)
	h.leave(ctx, s, reasonOf(ctx, err))
	return err
}

// doubt notes what an earlier stream may have delivered, and how long the
// worker still has to say that it has started. It has been able to do so through
// another node from the moment that the earlier stream broke.
func (s *session) doubt(view fsm.View, wait time.Duration) {
	s.doubtful, s.doubtFor = assigned(view, s.stream.Worker), wait
	if w, ok := view.Worker(s.stream.Worker); ok && w.Lease.State == fsm.LeaseSuspect {
		s.doubtFor = max(0, wait-view.Now().Sub(w.Lease.Since))
	}
}

// assigned gives the attempts that a worker was given and has not started.
func assigned(view fsm.View, w fsm.WorkerID) map[fsm.TaskRunID]int32 {
	out := map[fsm.TaskRunID]int32{}
	for t := range view.Assignments(w) {
		if t.Status == fsm.Assigned {
			out[t.ID] = t.Attempt
		}
	}
	return out
}

// reasonOf says in words why a stream ended, for the lease.
func reasonOf(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "the worker's stream broke or was closed"
	}
	return "the stream was ended: " + err.Error()
}

// notify asks the session to compare. It never blocks.
func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// attach makes the session the holder of the worker's lease.
func (s *session) attach(ctx context.Context) error {
	res, err := s.hub.cfg.Backend.ProposeWithin(ctx, attachHold, &limpetv1.Command{Kind: &limpetv1.Command_AttachSession{
		AttachSession: &limpetv1.AttachSession{
			WorkerId: string(s.stream.Worker), Node: string(s.hub.cfg.Backend.Name()), Session: string(s.id), Incarnation: s.stream.Incarnation,
		},
	}})
	if err != nil {
		return transport.Unavailable("open the stream of worker %q: the cluster did not confirm it: %v", s.stream.Worker, err)
	}
	if res.Refusal != nil {
		return res.Refusal
	}
	return nil
}

func (s *session) run(ctx context.Context, gate *Gate) error {
	var tick <-chan time.Time
	if s.stream.Vouches {
		ticker := time.NewTicker(vouchEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	redeliver := time.NewTimer(s.doubtFor)
	defer redeliver.Stop()
	s.notify()
	for {
		select {
		case <-redeliver.C:
			if !bugs.On(bugs.NoResend) {
				s.doubtful = nil
			}
			s.notify()
		case <-ctx.Done():
			return ctx.Err()
		case <-gate.Done():
			return gate.Err()
		case <-s.superseded:
			return supersededErr(s.stream.Worker)
		case <-tick:
			s.hub.cfg.Backend.Vouch(s.stream.Worker)
		case <-s.wake:
			if err := s.compare(ctx, gate); err != nil {
				return err
			}
		}
	}
}

// compare brings the worker up to date with the state.
func (s *session) compare(ctx context.Context, gate *Gate) error {
	view := s.hub.cfg.Backend.View()
	w, ok := view.Worker(s.stream.Worker)
	switch {
	case !ok:
		return s.goodbye(ctx, gate)
	case w.Lease.Session != s.id:
		return supersededErr(w.ID)
	case w.Mode == fsm.ModeDraining && (w.Lease.State == fsm.LeaseLost || w.SaidGoodbye()):
		return s.goodbye(ctx, gate)
	}
	switch w.Lease.State {
	case fsm.LeaseLost:
		// The worker was not heard of for long. If it lives it comes back, and is
		// admitted again with a higher epoch.
		return transport.Unavailable("the lease of worker %q was lost: %s", w.ID, w.Lease.Reason)
	case fsm.LeaseSuspect:
		// The cluster took this node for gone, but the stream is still here. With an
		// id of its own: a loss that is on its way already names the one before.
		s.id = s.hub.nextID()
		if err := s.attach(ctx); err != nil {
			return err
		}
		s.notify()
		return nil
	case fsm.LeaseLive:
	}
	clear(s.held)
	for t := range view.Assignments(w.ID) {
		s.held[t.ID] = t.Attempt
		s.list = append(s.list, t)
	}
	// Cancels go first: a new attempt of the same task run may follow.
	if err := s.cancelOld(view, w); err != nil {
		return err
	}
	for _, t := range s.list {
		if err := s.start(ctx, view, t); err != nil {
			return err
		}
	}
	clear(s.list) // or it would keep what the state has forgotten
	s.list = s.list[:0]
	return nil
}

// start sends an attempt that was not sent on this stream. One that runs was
// delivered on an earlier stream: it is only noted.
func (s *session) start(ctx context.Context, view fsm.View, t *fsm.TaskRun) error {
	if attempt, doubtful := s.doubtful[t.ID]; doubtful && attempt == t.Attempt && t.Status == fsm.Assigned {
		return nil
	}
	before, known := s.sent[t.ID]
	if !known || before.attempt != t.Attempt {
		if t.Status == fsm.Assigned {
			if err := s.dispatch(ctx, view, t); err != nil {
				return err
			}
		}
	}
	now := sent{attempt: t.Attempt, requeues: t.Requeues}
	if t.Status == fsm.Running {
		now.executeBy = t.ExecuteBy
	}
	if !known || before != now {
		s.sent[t.ID] = now
	}
	return nil
}

func (s *session) dispatch(ctx context.Context, view fsm.View, t *fsm.TaskRun) error {
	action := startAction(view, t)
	if action == nil {
		return nil // the run is gone from this view; nothing to start
	}
	if n := proto.Size(action); n > s.hub.cfg.MaxMessage {
		return s.tooLarge(ctx, t, n)
	}
	// Counted first: whoever has the order finds it counted.
	s.hub.cfg.Counters.Dispatched.Add(1)
	return s.stream.Send(action)
}

// tooLarge fails an attempt that the worker could never receive: its stream
// would break on it for ever.
func (s *session) tooLarge(ctx context.Context, t *fsm.TaskRun, size int) error {
	s.hub.cfg.Counters.Oversized.Add(1)
	_, err := s.hub.cfg.Backend.ProposeWithin(ctx, attachHold, &limpetv1.Command{Kind: &limpetv1.Command_ReportFailed{
		ReportFailed: &limpetv1.ReportFailed{
			TenantId: string(t.Tenant), TaskRunId: string(t.ID), Attempt: t.Attempt,
			Error: oversized(size, s.hub.cfg.MaxMessage), NoRetry: true,
		},
	}})
	if err != nil {
		return transport.Unavailable("fail task run %q, whose payload is too large: %v", t.ID, err)
	}
	return nil
}

// cancelOld tells the worker of attempts that it should no longer work on.
func (s *session) cancelOld(view fsm.View, w *fsm.Worker) error {
	for id, was := range s.sent {
		if attempt, held := s.held[id]; held && attempt == was.attempt {
			continue
		}
		delete(s.sent, id)
		t, ok := view.TaskRun(id)
		// A Ruby worker takes the order to cancel for an order to start.
		if !ok || !was.ended(view.Now(), t) || strings.EqualFold(w.SDK, compat.SDKS_RUBY.String()) {
			continue
		}
		action := cancelAction(view, t, was.attempt)
		if action == nil {
			continue
		}
		if err := s.stream.Send(action); err != nil {
			return err
		}
		s.hub.cfg.Counters.Cancels.Add(1)
	}
	return nil
}

// ended reports whether an attempt that is no longer held was ended from
// outside, so that its worker does not know yet.
func (was sent) ended(now fsm.Instant, t *fsm.TaskRun) bool {
	switch {
	case t.Status == fsm.Cancelled:
		return true
	case t.Status == fsm.Completed || t.Status == fsm.Skipped:
		return false
	case t.Requeues > was.requeues: // not delivered in time
		return true
	default: // failed: by its timeout, or by the worker's own report
		return was.executeBy != 0 && now >= was.executeBy
	}
}

// goodbye waits for a worker that has left to end its stream itself: an end by
// this side could bring it back, and admit it again.
func (s *session) goodbye(ctx context.Context, gate *Gate) error {
	timer := time.NewTimer(goodbyeFor)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gate.Done():
			return gate.Err()
		case <-s.superseded:
			return supersededErr(s.stream.Worker)
		case <-s.wake:
			if w, ok := s.hub.cfg.Backend.View().Worker(s.stream.Worker); ok && w.Mode != fsm.ModeDraining {
				return transport.Unavailable("worker %q takes work again: listen again", s.stream.Worker)
			}
		case <-timer.C:
			return transport.Unavailable("worker %q has left: listen again to come back, or start it again", s.stream.Worker)
		}
	}
}

// detach tells the cluster that the session's stream has ended. It has its own
// time: the context must not be the stream's, which is over.
func (h *Hub) detach(ctx context.Context, s *session, reason string) {
	ctx, cancel := context.WithTimeout(ctx, detachFor)
	defer cancel()
	go func() {
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	cmd := &limpetv1.Command{Kind: &limpetv1.Command_DetachSession{DetachSession: &limpetv1.DetachSession{
		WorkerId: string(s.stream.Worker), Session: string(s.id), Reason: reason,
	}}}
	for {
		_, err := h.cfg.Backend.ProposeWithin(ctx, detachFor, cmd)
		if err == nil {
			return
		}
		timer := time.NewTimer(detachPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			h.cfg.Logger.Warn("the cluster was not told that a session ended; the lease will lapse by itself",
				"worker", s.stream.Worker, "session", s.id, "error", err)
			return
		case <-timer.C:
		}
	}
}

func supersededErr(w fsm.WorkerID) error {
	return transport.Unavailable("a newer stream of worker %q took the place of this one", w)
}
