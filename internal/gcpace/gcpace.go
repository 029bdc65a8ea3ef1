// Package gcpace sets how often the garbage collector runs.
//
// A node's heap is often small and always busy: at the runtime's own setting it
// would be collected many times a second, for a fifth of the processor. So a
// small heap may grow by a fixed amount before it is collected, and a large one
// by its own size, as always, or by half as much again while there is memory.
package gcpace

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// A small heap may grow by a share of the machine's memory between
	// collections, within bounds; by usualSlack if nobody says how much there is.
	share                 = 16
	leastSlack, mostSlack = 64 << 20, 1 << 30
	usualSlack            = 192 << 20
	// least and most bound the percentage; least is the runtime's own. Roomy is the
	// least while the heap that it makes is below a part of the memory.
	least, roomy, most = 100, 150, 2000
	roomyPart          = 4

	every = time.Second
)

// Run adjusts the collector until ctx ends. It does nothing if the environment
// says GOGC: then that is what holds.
func Run(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, size := 0, memory()
	for {
		if p := percent(liveHeap(), size); p != last {
			debug.SetGCPercent(p)
			last = p
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// slackOf gives how many bytes a small heap may grow on a machine with so much
// memory; 0 for unknown.
func slackOf(memory uint64) uint64 {
	if memory == 0 {
		return usualSlack
	}
	return min(max(memory/share, leastSlack), mostSlack)
}

// percent is the growth that is allowed for a heap of so many live bytes in so much
// memory (0 for unknown), in steps of its quarter, so that it does not change with every collection.
func percent(live, memory uint64) int {
	if live == 0 {
		return most
	}
	p := int(min(most, slackOf(memory)*100/live))
	floor := least
	if live/100*(100+roomy) < memory/roomyPart {
		floor = roomy
	}
	return max(floor, p-p%(max(4, p)/4))
}

// liveHeap is what the latest collection found alive, in bytes.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
