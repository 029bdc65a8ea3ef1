package planted

import (
	"math"
	"time"
)

type share float64 // want "float"

func floats(n int64, d time.Duration) int64 {
	const half = 1.0    // want "float"
	x := math.Sqrt(4)   // want "float"
	_ = x               // want "float"
	_ = d.Seconds()     // want "float"
	var c complex128    // want "float"
	_ = c               // want "float"
	_ = int64(share(2)) // want "float"
	return n / 2.0      // want "float"
}

type stats struct {
	mean float32 // want "float"
	n    int
}

const big = math.MaxInt64
