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
		if got := percent(c.live, 0); got < c.from || got > c.to {
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

func TestALargeHeapMayGrowByMoreWhileThereIsMemory(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		live, memory uint64
		want         int
	}{
		{2 * gib, 24 * gib, roomy},
		{3 * gib, 24 * gib, least},
		{2 * gib, 16 * gib, least},
		{2 * gib, 0, least},
	} {
		if got := percent(c.live, c.memory); got != c.want {
			t.Errorf("percent(%d GiB of %d) = %d, want %d", c.live/gib, c.memory/gib, got, c.want)
		}
	}
}

func TestTheSlackFollowsTheMemory(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for memory, want := range map[uint64]uint64{0: usualSlack, 1 * gib: leastSlack, 12 * gib: 768 * mib, 64 * gib: mostSlack} {
		if got := slackOf(memory); got != want {
			t.Errorf("slackOf(%d MiB) = %d MiB, want %d MiB", memory/mib, got/mib, want/mib)
		}
	}
}

func TestMemoryIsReadAsTheSystemWritesIt(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal:       16303428 kB\nMemFree:  1 kB\n": 16303428 << 10,
		"MemFree:  1 kB\n":    0,
		"MemTotal: many kB\n": 0,
		"":                    0,
	} {
		if got := machineMemory(text); got != want {
			t.Errorf("machineMemory(%q) = %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]uint64{"max\n": 0, "": 0, "1073741824\n": 1 << 30} {
		if got := groupMemory(text); got != want {
			t.Errorf("groupMemory(%q) = %d, want %d", text, got, want)
		}
	}
}
