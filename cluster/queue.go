package cluster

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	maxEntryCommands = 4096
	maxEntryBytes    = 1 << 20
	maxQueueBytes    = 256 << 20

	largeEntryCommands = 1024
	largeEntryBytes    = 256 << 10
)

// commandQueue holds the commands that wait at the leader for their entry. A
// command that is sent again while it waits, or is in flight, is dropped. What
// asks for new runs goes behind all else: what has begun is finished first.
type commandQueue struct {
	maxCommands int
	wake        chan struct{} // capacity 1: there is something

	mu    sync.Mutex
	first lane
	later lane
	bytes int                 // of both
	known map[string]struct{} // request ids that wait or are in flight
}

// lane is commands in the order in which they came. It keeps its memory, up to a
// bound, from one entry to the next.
type lane struct {
	list  []queued
	taken int // of list, from its front
}

func (l *lane) len() int { return len(l.list) - l.taken }

func (l *lane) push(x queued) {
	if len(l.list) == cap(l.list) && l.taken > len(l.list)/2 {
		l.list = slices.Delete(l.list, 0, l.taken)
		l.taken = 0
	}
	l.list = append(l.list, x)
}

type queued struct {
	cmd  fsm.Command
	data []byte // cmd, encoded; nil if the leader made it
	size int
	at   time.Time // when it came
}

// batch is the commands of an entry.
type batch struct {
	cmds  []fsm.Command
	data  [][]byte // of each command: encoded, or nil
	bytes int
	taken time.Time
	// oldest is how long the first of them had waited.
	oldest time.Duration
	// reports is how many of them are reports, and since the sum of the times that
	// they had waited when they were taken.
	reports int
	since   time.Duration
}

// answered tells that the entry is in the log, and how long its reports were inside the
// leader.
func (b *batch) answered(s *saturation, now time.Time) {
	s.answered(b.reports, b.since+time.Duration(b.reports)*now.Sub(b.taken), now)
}

// pull moves commands from the lane, within the bounds of an entry but at least one
// if the entry is empty.
func (l *lane) pull(b *batch, most, mostBytes int) {
	for l.len() > 0 && len(b.cmds) < most && (len(b.cmds) == 0 || b.bytes+l.list[l.taken].size <= mostBytes) {
		x := &l.list[l.taken]
		b.cmds, b.data = append(b.cmds, x.cmd), append(b.data, x.data)
		b.bytes += x.size
		b.oldest = max(b.oldest, b.taken.Sub(x.at))
		if isReport(x.cmd) {
			b.reports++
			b.since += b.taken.Sub(x.at)
		}
		*x = queued{} // the lane's memory lives on
		l.taken++
	}
	if l.len() == 0 {
		l.list, l.taken = l.list[:0], 0
		if cap(l.list) > maxEntryCommands {
			l.list = nil
		}
	}
}

// waiting gives how many wait. The caller holds the lock.
func (q *commandQueue) waiting() int { return q.first.len() + q.later.len() }

func newCommandQueue(maxCommands int) *commandQueue {
	return &commandQueue{maxCommands: maxCommands, wake: make(chan struct{}, 1), known: map[string]struct{}{}}
}

// put adds commands; it gives the request ids of those that found no room.
func (q *commandQueue) put(offers []offer) (refused []string) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range offers {
		cmd := o.cmd
		id := string(cmd.GetRequestId())
		if _, ok := q.known[id]; ok {
			continue
		}
		if q.waiting() >= roomFor(cmd, q.maxCommands) || q.bytes >= roomFor(cmd, maxQueueBytes) {
			refused = append(refused, id)
			continue
		}
		x := queued{cmd, o.data, len(o.data), now}
		if x.size == 0 {
			x.size = proto.Size(cmd)
		}
		q.known[id] = struct{}{}
		q.bytes += x.size
		if asksForRuns(cmd) {
			q.later.push(x)
		} else {
			q.first.push(x)
		}
	}
	signal(q.wake)
	return refused
}

// take gives the commands of the next entry: at least one if any wait, and
// within the bounds of an entry. New runs have an eighth of it at least.
func (q *commandQueue) take() batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.waiting(), maxEntryCommands)
	b := batch{taken: time.Now()}
	if n == 0 {
		return b
	}
	b.cmds, b.data = make([]fsm.Command, 0, n), make([][]byte, 0, n)
	kept, keptBytes := min(q.later.len(), maxEntryCommands/8), 0
	if kept > 0 {
		keptBytes = max(maxEntryBytes/8, min(q.later.list[q.later.taken].size, maxEntryBytes*7/8))
	}
	q.first.pull(&b, maxEntryCommands-kept, maxEntryBytes-keptBytes)
	q.later.pull(&b, maxEntryCommands, maxEntryBytes)
	q.bytes -= b.bytes
	return b
}

// has reports whether a command waits or is in flight.
func (q *commandQueue) has(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.known[id]
	return ok
}

// empty reports whether nothing waits.
func (q *commandQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting() == 0
}

// len gives how many wait.
func (q *commandQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting()
}

// large reports whether what waits makes an entry that is worth its cost beside
// one that is in flight.
func (q *commandQueue) large() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting() >= largeEntryCommands || q.bytes >= largeEntryBytes
}

// forget lets the request ids of a committed entry be sent again.
func (q *commandQueue) forget(cmds []fsm.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, cmd := range cmds {
		delete(q.known, string(cmd.GetRequestId()))
	}
}
