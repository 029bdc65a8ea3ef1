package cluster

import (
	"context"
	"slices"
	"sync"

	"github.com/limpet-dev/limpet/fsm"
)

// fanout carries effects from the goroutine that applies to the sink. It never
// makes the former wait: what the sink has not taken yet is merged, so that the
// set is bounded by the number of things that can change.
type fanout struct {
	sink Sink

	mu    sync.Mutex
	seen  map[fsm.Effect]struct{} // in queue, once something is merged
	queue []fsm.Effect            // in order of first mention
	reset bool
	wake  chan struct{}
}

func newFanout(sink Sink) *fanout {
	return &fanout{sink: sink, seen: map[fsm.Effect]struct{}{}, wake: make(chan struct{}, 1)}
}

// push adds effects, which must not be changed any more.
func (f *fanout) push(effects []fsm.Effect) {
	if f.sink == nil || len(effects) == 0 {
		return
	}
	f.mu.Lock()
	if len(f.queue) == 0 && !slices.ContainsFunc(effects, isReset) { // the sink keeps up: there is nothing to merge
		f.queue = effects
	} else {
		if len(f.seen) == 0 {
			first := f.queue
			f.queue = nil // it is whose it came from
			f.add(first)
		}
		f.add(effects)
	}
	f.mu.Unlock()
	signal(f.wake)
}

func isReset(e fsm.Effect) bool { return e.Kind == fsm.Reset }

// add merges effects into the queue. The caller holds mu.
func (f *fanout) add(effects []fsm.Effect) {
	for _, e := range effects {
		if isReset(e) {
			f.resetLocked()
			continue
		}
		if _, ok := f.seen[e]; !ok {
			f.seen[e] = struct{}{}
			f.queue = append(f.queue, e)
		}
	}
}

// pushReset says that anything may have changed; what was queued is part of it.
func (f *fanout) pushReset() {
	if f.sink == nil {
		return
	}
	f.mu.Lock()
	f.resetLocked()
	f.mu.Unlock()
	signal(f.wake)
}

func (f *fanout) resetLocked() {
	f.reset, f.queue = true, nil
	clear(f.seen)
}

// run calls the sink until ctx ends.
func (f *fanout) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		f.mu.Lock()
		reset, queue := f.reset, f.queue
		f.reset, f.queue = false, nil
		clear(f.seen)
		f.mu.Unlock()
		if reset {
			f.sink.Reset()
		}
		if len(queue) > 0 {
			f.sink.Wake(queue)
		}
	}
}

// signal wakes the reader of a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isClosed says whether a channel on which nothing is sent is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
