package gcpace

import (
	"runtime"
	"testing"
)

func TestASmallHeapMayGrowByTheSlackAndALargeOneByItself(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		live     uint64
		from, to int
	}{
		{0, most, most},
		{1 * mib, most, most},
		{20 * mib, 700, 960},
		{96 * mib, 140, 200},
		{192 * mib, least, least},
		{4096 * mib, least, least},
	} {
		if got := percent(c.live); got < c.from || got > c.to {
			t.Errorf("percent(%d MiB) = %d, want %d to %d", c.live/mib, got, c.from, c.to)
		}
	}
}

// The runtime's metric is there under the name that is read.
func TestTheLiveHeapIsKnown(t *testing.T) {
	runtime.GC()
	if liveHeap() == 0 {
		t.Error("the live heap is 0 after a collection")
	}
}
