package fsm

import "time"

// Instant is a moment of cluster time, in nanoseconds since the cluster was
// formed. It advances with the leaders' monotonic clocks and never with a wall
// clock. Every deadline is an Instant.
type Instant int64

// Add returns the moment d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns how much later i is than o.
func (i Instant) Sub(o Instant) time.Duration { return time.Duration(i - o) }

// Stamp is the leader's mark on an entry.
type Stamp struct {
	// Instant is the cluster time of the entry.
	Instant Instant
	// Wall is the leader's wall clock in Unix nanoseconds. For display only: no
	// rule may depend on it.
	Wall int64
}
