package bench

import (
	"context"
	"time"
)

// pace hands out moments at a fixed rate until the context ends or so much
// time has passed: the moment that each arrival is due, whether or not anybody
// was free to take it then. A latency that is counted from that moment has no
// coordinated omission: a server that stalls also delays what had not been
// sent yet. It gives how many moments were handed out.
func pace(ctx context.Context, rate float64, length time.Duration, out chan<- time.Time) int {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		offset := time.Duration(float64(i) / rate * float64(time.Second))
		if offset >= length {
			return i
		}
		due := start.Add(offset)
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return i
			case <-timer.C:
			}
		}
		select {
		case <-ctx.Done():
			return i
		case out <- due:
		}
	}
}
