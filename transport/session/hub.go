// Package session holds the open ends of a node: the assignment streams of
// workers and the subscriptions to runs.
//
// It learns of changes by wake-ups that carry ids and sends what the state
// says: a session compares what it has sent with what is true. So wake-ups may
// be merged, repeated or lost to a reset, and a worker that comes back, here or
// at another node, is served by the same code as one that never left.
package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// Config is what a hub is made of.
type Config struct {
	Backend  transport.Backend
	Counters *transport.Counters
	Logger   hclog.Logger
	// MaxMessage is the size in bytes of the largest message that a worker can
	// receive; 0 for [transport.DefaultMaxMessage].
	MaxMessage int
	// RedeliverAfter is how long a new session waits before it sends again what
	// an earlier one may have delivered; 0 for [DefaultRedeliverAfter].
	RedeliverAfter time.Duration
}

// DefaultRedeliverAfter leaves a worker whose connection broke the time to
// repeat, through another node, that it has started a task: sent again too soon,
// the task would run twice.
const DefaultRedeliverAfter = 2 * time.Second

// Hub knows all sessions and subscriptions of this node and wakes them.
//
// Threads: a session runs on the goroutine of its gRPC stream. For each ended
// session one goroutine tells the cluster so; Close waits for them.
type Hub struct {
	cfg     Config
	counter atomic.Int64

	mu       sync.Mutex
	sessions map[fsm.WorkerID]*session // the newest of each worker
	watchers map[fsm.RunID]map[*Watcher]struct{}
	// followers watch every run.
	followers map[*Watcher]struct{}
	gate      *Gate
	stopped   bool

	background sync.WaitGroup
	stop       chan struct{} // closed when Close gives up waiting
}

// NewHub makes a hub that admits streams.
func NewHub(cfg Config) *Hub {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = transport.DefaultMaxMessage
	}
	if cfg.RedeliverAfter == 0 {
		cfg.RedeliverAfter = DefaultRedeliverAfter
	}
	return &Hub{
		cfg:      cfg,
		sessions: map[fsm.WorkerID]*session{},
		watchers: map[fsm.RunID]map[*Watcher]struct{}{}, followers: map[*Watcher]struct{}{},
		gate: newGate(),
		stop: make(chan struct{}),
	}
}

// Wake takes the effects of an applied entry. It never blocks.
func (h *Hub) Wake(effects []fsm.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range effects {
		switch e.Kind {
		case fsm.WorkerChanged:
			if s := h.sessions[fsm.WorkerID(e.ID)]; s != nil {
				s.notify()
			}
		case fsm.RunFinished:
			h.markLocked(fsm.RunID(e.ID), true)
		case fsm.Reset:
			h.resetLocked()
		case fsm.RunChanged:
			h.markLocked(fsm.RunID(e.ID), false)
		}
	}
}

func (h *Hub) markLocked(run fsm.RunID, finished bool) {
	for w := range h.watchers[run] {
		if finished || w.changes {
			w.mark(run)
		}
	}
	for w := range h.followers {
		w.mark(run)
	}
}

// Reset wakes everybody: anything may have changed. It never blocks.
func (h *Hub) Reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resetLocked()
}

func (h *Hub) resetLocked() {
	for _, s := range h.sessions {
		s.notify()
	}
	for run, set := range h.watchers {
		for w := range set {
			w.mark(run)
		}
	}
}

// Sessions gives the workers that have an open stream at this node.
func (h *Hub) Sessions() []fsm.WorkerID {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]fsm.WorkerID, 0, len(h.sessions))
	for id := range h.sessions {
		out = append(out, id)
	}
	return out
}

// SetIsolated ends all streams and admits no new ones while this node has lost
// the quorum, so that SDKs go to a node that has it.
func (h *Hub) SetIsolated(isolated bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
	case isolated:
		h.gate.close("this node cannot reach a majority of the cluster: use another node")
	case h.gate.closed():
		h.gate = newGate()
	}
}

// Shutdown ends all streams with the reason and admits no new ones, for good.
func (h *Hub) Shutdown(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	h.gate.close(reason)
}

// Close shuts down and waits until the cluster was told of all ended sessions,
// or the context ends.
func (h *Hub) Close(ctx context.Context) error {
	h.Shutdown("this node is shutting down")
	done := make(chan struct{})
	go func() {
		h.background.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		close(h.stop)
		<-done
		return fmt.Errorf("tell the cluster of ended sessions: %w", ctx.Err())
	}
}

// Admit gives the gate that a long stream has to watch, or why there is none
// now, as a status error.
func (h *Hub) Admit() (*Gate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gate.closed() {
		return nil, h.gate.Err()
	}
	return h.gate, nil
}

// open makes a session the newest of its worker. The one before it ends.
func (h *Hub) open(st Stream) (*session, *Gate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gate.closed() {
		return nil, nil, h.gate.Err()
	}
	s := &session{
		hub:        h,
		stream:     st,
		id:         h.nextID(),
		wake:       make(chan struct{}, 1),
		superseded: make(chan struct{}),
		sent:       map[fsm.TaskRunID]sent{},
		held:       map[fsm.TaskRunID]int32{},
	}
	if old := h.sessions[st.Worker]; old != nil {
		close(old.superseded)
	}
	h.sessions[st.Worker] = s
	h.cfg.Counters.Sessions.Add(1)
	return s, h.gate, nil
}

func (h *Hub) nextID() fsm.SessionID {
	return fsm.SessionID(fmt.Sprintf("%s-%d", h.cfg.Backend.Incarnation(), h.counter.Add(1)))
}

// leave forgets a session and tells the cluster that its stream has ended,
// unless a newer session of the worker has taken its place.
func (h *Hub) leave(ctx context.Context, s *session, reason string) {
	h.cfg.Counters.Sessions.Add(-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.stream.Worker] != s {
		return
	}
	delete(h.sessions, s.stream.Worker)
	ctx = context.WithoutCancel(ctx)
	h.background.Go(func() { h.detach(ctx, s, reason) })
}

// Gate says how long streams may stay open at this node.
type Gate struct {
	done   chan struct{}
	reason string // written before done is closed
}

func newGate() *Gate { return &Gate{done: make(chan struct{})} }

// Done is closed when the streams must end.
func (g *Gate) Done() <-chan struct{} { return g.done }

// Err is the error that they end with; call it after Done only.
func (g *Gate) Err() error { return transport.Unavailable("%s", g.reason) }

func (g *Gate) closed() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// close is called with the hub's lock held.
func (g *Gate) close(reason string) {
	if !g.closed() {
		g.reason = reason
		close(g.done)
	}
}
