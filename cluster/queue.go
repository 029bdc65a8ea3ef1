package cluster

import (
	"sync"

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
// command that is sent again while it waits, or is in flight, is dropped.
type commandQueue struct {
	maxCommands int
	wake        chan struct{} // capacity 1: there is something

	mu    sync.Mutex
	items []queued
	bytes int
	known map[string]struct{} // request ids that wait or are in flight
}

type queued struct {
	cmd  fsm.Command
	size int
}

func newCommandQueue(maxCommands int) *commandQueue {
	return &commandQueue{maxCommands: maxCommands, wake: make(chan struct{}, 1), known: map[string]struct{}{}}
}

// put adds commands; it gives the request ids of those that found no room.
func (q *commandQueue) put(cmds []fsm.Command) (refused []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, cmd := range cmds {
		id := string(cmd.GetRequestId())
		if _, ok := q.known[id]; ok {
			continue
		}
		if len(q.items) >= roomFor(cmd, q.maxCommands) || q.bytes >= roomFor(cmd, maxQueueBytes) {
			refused = append(refused, id)
			continue
		}
		size := proto.Size(cmd)
		q.known[id] = struct{}{}
		q.items = append(q.items, queued{cmd, size})
		q.bytes += size
	}
	signal(q.wake)
	return refused
}

// take gives the commands of the next entry: at least one if any wait, and
// within the bounds of an entry.
func (q *commandQueue) take() []fsm.Command {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.items) && n < maxEntryCommands && (n == 0 || bytes+q.items[n].size <= maxEntryBytes) {
		bytes += q.items[n].size
		n++
	}
	if n == 0 {
		return nil
	}
	cmds := make([]fsm.Command, n)
	for i := range n {
		cmds[i] = q.items[i].cmd
	}
	if q.items = q.items[n:]; len(q.items) == 0 {
		q.items = nil
	}
	q.bytes -= bytes
	return cmds
}

// empty reports whether nothing waits.
func (q *commandQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// len gives how many wait.
func (q *commandQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// large reports whether what waits makes an entry that is worth its cost beside
// one that is in flight.
func (q *commandQueue) large() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= largeEntryCommands || q.bytes >= largeEntryBytes
}

// forget lets the request ids of a committed entry be sent again.
func (q *commandQueue) forget(cmds []fsm.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, cmd := range cmds {
		delete(q.known, string(cmd.GetRequestId()))
	}
}
