package bench

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceKeepsItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := make(chan time.Time)
		var n int
		go func() {
			n = pace(t.Context(), 250, 2*time.Second, out)
			close(out)
		}()
		i := 0
		for due := range out {
			if want := start.Add(time.Duration(i) * 4 * time.Millisecond); !due.Equal(want) || time.Now() != due {
				t.Errorf("arrival %d is due at %v and came at %v, want %v", i, due.Sub(start), time.Since(start), want.Sub(start))
			}
			i++
		}
		if i != 500 || n != 500 {
			t.Errorf("%d arrivals, %d by its own count; want 500", i, n)
		}
	})
}

// A sender that is held up must not delay what is due after: that would hide
// the stall from the latencies.
func TestPaceHasNoCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := make(chan time.Time)
		go func() {
			pace(t.Context(), 100, time.Second, out)
			close(out)
		}()
		var worst time.Duration
		i := 0
		for due := range out {
			if i == 10 {
				time.Sleep(300 * time.Millisecond)
			}
			worst = max(worst, time.Since(due))
			if want := start.Add(time.Duration(i) * 10 * time.Millisecond); !due.Equal(want) {
				t.Errorf("arrival %d is due at %v, want %v", i, due.Sub(start), want.Sub(start))
			}
			i++
		}
		if i != 100 || worst != 300*time.Millisecond {
			t.Errorf("%d arrivals, the latest %v late; want 100 and 300ms", i, worst)
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
		defer cancel()
		out := make(chan time.Time, 1000)
		if n := pace(ctx, 100, time.Hour, out); n != 10 {
			t.Errorf("%d arrivals in 95ms at 100 a second, want 10", n)
		}
	})
}
