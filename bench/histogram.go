package bench

import (
	"math/bits"
	"sync"
	"time"
)

const (
	// subBits: every power of two is cut into so many steps (2^7), so that a
	// recorded value is off by less than 1 %.
	subBits = 7
	half    = 1 << subBits
	// largest is the longest time that is told apart; longer ones count as it.
	largest = int64(time.Hour)
)

// Histogram counts durations in steps that grow with the value. It may be used
// from many goroutines.
type Histogram struct {
	mu     sync.Mutex
	counts []uint64
	total  uint64
	sum    float64
	max    int64
}

// bucket is the step of a value: small values each have one, larger ones share.
func bucket(v int64) int {
	if v < half {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return shift*half + int(v>>shift)
}

// middle is the value that stands for a step.
func middle(i int) int64 {
	if i < 2*half {
		return int64(i)
	}
	shift := i/half - 1
	low := int64(i-shift*half) << shift
	return low + int64(1)<<shift/2
}

// Record counts one duration.
func (h *Histogram) Record(d time.Duration) {
	v := min(max(int64(d), 0), largest)
	i := bucket(v)
	h.mu.Lock()
	defer h.mu.Unlock()
	if i >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, i+1-len(h.counts))...)
	}
	h.counts[i]++
	h.total++
	h.sum += float64(v)
	h.max = max(h.max, v)
}

// Merge adds all that another histogram has counted.
func (h *Histogram) Merge(other *Histogram) {
	other.mu.Lock()
	defer other.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(other.counts) - len(h.counts); n > 0 {
		h.counts = append(h.counts, make([]uint64, n)...)
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// Quantile is the duration that the share q (0 to 1) of all does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total == 0 {
		return 0
	}
	rank := min(max(uint64(q*float64(h.total)+0.5), 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(min(middle(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Duration(h.max)
}

// Mean is the average.
func (h *Histogram) Mean() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.total))
}
