// Package awake is the clock of a process that may stand still.
package awake

import (
	"sync"
	"time"
)

// Clock is the clock of a process that may be stopped: a frozen machine, a
// suspended process, a starved one. Time in which it stood still is not counted.
// A leader that slept has not heard of anybody, but nobody has been silent for
// that; nor could anybody report to it what it then would call too late.
//
// It must be read more often than every [Stall]; whoever reads it for that does so
// every [Tick]. The zero Clock is ready.
type Clock struct {
	mu      sync.Mutex
	read    time.Time // when last
	skipped time.Duration
}

const (
	// Tick is how often the clock is read at least while the process goes on.
	Tick = 100 * time.Millisecond
	// Stall is from where on a gap between two readings is a standstill.
	Stall = time.Second
)

// Now is the time as this process has lived it: the present, minus all
// standstills. Times of this clock are compared with each other only.
func (a *Clock) Now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.look().Add(-a.skipped)
}

// At gives a moment of the system's clock on this one.
func (a *Clock) At(moment time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look()
	return moment.Add(-a.skipped)
}

// look reads the system's clock and notes a standstill. The caller holds mu: a
// present that was read before it, by one who then stood still, would be taken
// for later, or shifted by a standstill that came after it.
func (a *Clock) look() time.Time {
	t := time.Now()
	if gap := t.Sub(a.read); !a.read.IsZero() && gap > Stall {
		a.skipped += gap - Tick
	}
	a.read = t
	return t
}
