package fsm

import "time"

// backoffLimit caps the delay of a task that names no cap of its own.
const backoffLimit = 24 * time.Hour

// backoff gives the delay before the next attempt after so many failures:
// factor to the power of failures, in seconds, in whole thousandths so that
// every machine computes the same.
func (t *Task) backoff(failures int32) time.Duration {
	if t.BackoffFactor <= 0 {
		return 0
	}
	limit := int64(or(t.BackoffMax, backoffLimit) / time.Millisecond)
	milli := int64(1000)
	for range failures {
		if milli >= limit {
			break
		}
		milli = milli * min(t.BackoffFactor, 1_000_000) / 1000
	}
	return time.Duration(min(milli, limit)) * time.Millisecond
}
