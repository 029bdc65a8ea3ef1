package transport

import (
	"maps"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/limpet-dev/limpet/fsm"
)

// Counters count what a node's listeners do since its process started. They
// are safe for any number of goroutines.
type Counters struct {
	// Sessions is the number of worker streams open now.
	Sessions atomic.Int64
	// Dispatched counts assignments sent to workers, repeats included.
	Dispatched atomic.Int64
	// Cancels counts orders to cancel a task run that were sent to workers.
	Cancels atomic.Int64
	// Results counts results of finished runs delivered to subscribers.
	Results atomic.Int64
	// Fenced counts reports that were refused because of their attempt; their
	// senders were told OK.
	Fenced atomic.Int64
	// Oversized counts payloads that were too large for the wire.
	Oversized atomic.Int64

	mu      sync.Mutex
	calls   map[Call]int64
	refused map[fsm.Code]int64
}

// Call names a kind of finished call: its method and how it ended.
type Call struct {
	Method string // full, as /Dispatcher/Register
	Code   codes.Code
}

// NewCounters gives counters at zero.
func NewCounters() *Counters {
	return &Counters{calls: map[Call]int64{}, refused: map[fsm.Code]int64{}}
}

// CountCall notes that a call has ended.
func (c *Counters) CountCall(method string, code codes.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[Call{method, code}]++
}

// CountRefusal notes that a command or an argument was refused.
func (c *Counters) CountRefusal(code fsm.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[code]++
}

// Calls gives a copy of the numbers of ended calls.
func (c *Counters) Calls() map[Call]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Refused gives a copy of the numbers of refusals by their code.
func (c *Counters) Refused() map[fsm.Code]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}
