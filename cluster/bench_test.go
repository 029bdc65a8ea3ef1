package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkProposeThroughAFollower measures commands from call to answer, with
// 256 callers at one follower of three nodes on loopback and real disks.
func BenchmarkProposeThroughAFollower(b *testing.B) {
	bed := newBed(b, 3, nil)
	bed.start(bed.names...)
	bed.awaitReady()
	n := bed.follower()
	propose(b, n, register(1))
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range 256 {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := n.Propose(context.Background(), register(1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkOneCallerAtAFollower measures the latency of a quiet cluster.
func BenchmarkOneCallerAtAFollower(b *testing.B) {
	bed := newBed(b, 3, nil)
	bed.start(bed.names...)
	bed.awaitReady()
	n := bed.follower()
	b.ResetTimer()
	for range b.N {
		propose(b, n, register(1))
	}
}
