package cluster

import (
	"sync"
	"time"
)

// awake is the clock of a process that may be stopped: a frozen machine, a
// suspended process, a starved one. Time in which it stood still is not counted.
// A leader that slept has not heard of anybody, but nobody has been silent for
// that; nor could anybody report to it what it then would call too late.
//
// It must be read more often than every stallAfter; the watch of the contact
// does.
type awake struct {
	mu      sync.Mutex
	read    time.Time // when last
	skipped time.Duration
}

// stallAfter is how long a gap is a standstill.
const stallAfter = time.Second

// now is the time as this process has lived it: the present, minus all
// standstills. Times of this clock are compared with each other only.
func (a *awake) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.look().Add(-a.skipped)
}

// at gives a moment of the system's clock on this one.
func (a *awake) at(moment time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look()
	return moment.Add(-a.skipped)
}

// look reads the system's clock and notes a standstill. The caller holds mu: a
// present that was read before it, by one who then stood still, would be taken
// for later, or shifted by a standstill that came after it.
func (a *awake) look() time.Time {
	t := time.Now()
	if gap := t.Sub(a.read); !a.read.IsZero() && gap > stallAfter {
		a.skipped += gap - contactTick
	}
	a.read = t
	return t
}
