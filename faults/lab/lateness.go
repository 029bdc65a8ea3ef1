package lab

import (
	"context"
	"fmt"
	"time"
)

// Lateness is how late this machine was with what was to happen: a program on it
// slept for a moment, again and again, and looked at how long that took. Faults
// are made by the same machine, so a late one is a fault that nobody ordered.
type Lateness struct {
	Worst time.Duration `json:"worst"`
	// Often counts the times it was later than lateAfter.
	Often int `json:"often"`
}

const (
	lateLook  = 20 * time.Millisecond
	lateAfter = 250 * time.Millisecond
)

// watchLateness looks until ctx ends, and then gives what it has seen.
func watchLateness(ctx context.Context) <-chan Lateness {
	out := make(chan Lateness, 1)
	go func() {
		var seen Lateness
		for ctx.Err() == nil {
			asleep := time.Now()
			time.Sleep(lateLook)
			seen = seen.noted(time.Since(asleep) - lateLook)
		}
		out <- seen
	}()
	return out
}

func (l Lateness) noted(by time.Duration) Lateness {
	l.Worst = max(l.Worst, by)
	if by > lateAfter {
		l.Often++
	}
	return l
}

// String says it in words; nothing if the machine was never late.
func (l Lateness) String() string {
	if l.Often == 0 {
		return ""
	}
	return fmt.Sprintf("The machine itself was late %d times, once by %s: what happened then may have other causes than the faults.",
		l.Often, l.Worst.Round(10*time.Millisecond))
}
