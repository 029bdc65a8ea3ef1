package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramIsWithinOnePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(10*time.Minute)), 1, 300).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		h := &Histogram{}
		for _, v := range values {
			h.Record(time.Duration(v))
		}
		slices.Sort(values)
		rank := min(max(int(q*float64(len(values))+0.5), 1), len(values))
		want, got := float64(values[rank-1]), float64(h.Quantile(q))
		if math.Abs(got-want) > 0.01*want {
			t.Errorf("quantile %v of %v is %v, want %v within 1 %%", q, values, got, want)
		}
		if h.Max() != time.Duration(values[len(values)-1]) {
			t.Errorf("max is %v, want %v", h.Max(), time.Duration(values[len(values)-1]))
		}
		if h.Count() != uint64(len(values)) {
			t.Errorf("count is %d, want %d", h.Count(), len(values))
		}
	})
}

func TestHistogramStepsFollowOneAnother(t *testing.T) {
	for _, v := range []int64{0, 1, half - 1, half, 2*half - 1, 2 * half, 2*half + 1, 1 << 20, 1<<20 + 1, largest - 1, largest} {
		if a, b := bucket(v), bucket(v+1); b != a && b != a+1 {
			t.Errorf("%d is in step %d and %d in step %d", v, a, v+1, b)
		}
		if got := bucket(middle(bucket(v))); got != bucket(v) {
			t.Errorf("the middle of step %d is in step %d", bucket(v), got)
		}
	}
}

func TestHistogramMerges(t *testing.T) {
	all, parts := &Histogram{}, [2]*Histogram{{}, {}}
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		all.Record(d)
		parts[i%2].Record(d)
	}
	parts[0].Merge(parts[1])
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.999, 1} {
		if got, want := parts[0].Quantile(q), all.Quantile(q); got != want {
			t.Errorf("quantile %v of the merged is %v, want %v", q, got, want)
		}
	}
	if parts[0].Mean() != all.Mean() || parts[0].Max() != all.Max() || parts[0].Count() != all.Count() {
		t.Errorf("merged: mean %v max %v count %d; want %v %v %d", parts[0].Mean(), parts[0].Max(), parts[0].Count(), all.Mean(), all.Max(), all.Count())
	}
}

func TestEmptyHistogramIsZero(t *testing.T) {
	h := &Histogram{}
	if h.Quantile(0.99) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Errorf("an empty histogram gives %v, %v, %v", h.Quantile(0.99), h.Mean(), h.Max())
	}
	h.Record(-time.Second)
	h.Record(2 * time.Hour)
	if h.Quantile(0) != 0 || h.Max() != time.Hour {
		t.Errorf("what is out of range gives %v and %v, want 0s and 1h", h.Quantile(0), h.Max())
	}
}
