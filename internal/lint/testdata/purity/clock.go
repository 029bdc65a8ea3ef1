package planted

import (
	"math/rand"   // want "math/rand"
	"sync/atomic" // want "sync/atomic"
	tm "time"
)

type timed struct {
	t *tm.Timer // want "clock: time.Timer"
}

func clocks(at tm.Time, d tm.Duration) {
	_ = tm.Now()        // want "clock: time.Now"
	_ = tm.Since(at)    // want "clock: time.Since"
	_ = tm.Until(at)    // want "clock: time.Until"
	tm.Sleep(d)         // want "clock: time.Sleep"
	_ = tm.After(d)     // want "clock: time.After"
	_ = tm.NewTimer(d)  // want "clock: time.NewTimer"
	_ = tm.NewTicker(d) // want "clock: time.NewTicker"
	now := tm.Now       // want "clock: time.Now"
	_ = now
	_ = rand.Int()
	_ = atomic.AddInt64
	_ = tm.Unix(0, 0).UTC().Add(3 * tm.Second)
}
