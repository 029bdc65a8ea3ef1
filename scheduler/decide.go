package scheduler

import (
	"container/heap"

	"github.com/limpet-dev/limpet/fsm"
)

// MaxAssignments bounds the assignments of one call of [Decide]. A full pass
// means that there may be more to do.
const MaxAssignments = 1024

// Why a worker was chosen: what [fsm.TaskRun.Reason] holds.
const (
	// ReasonPinned: the run's pinned worker.
	ReasonPinned = "PINNED"
	// ReasonPinMoved: the pinned worker is lost or draining; the pin moved here.
	ReasonPinMoved = "PIN_MOVED"
	// ReasonOverflow: the pinned worker was full or paused; the pin stays.
	ReasonOverflow = "OVERFLOW"
	// ReasonParent: the first task of a child run, on its parent's worker.
	ReasonParent = "PARENT_WORKER"
	// ReasonLabels: the best score of the wished labels.
	ReasonLabels = "LABEL_WEIGHT"
	// ReasonLeastLoaded: the least loaded worker that is eligible.
	ReasonLeastLoaded = "LEAST_LOADED"
)

// Decide adds to a draft the assignments that can be made now, at most
// MaxAssignments. It is pure: the same state gives the same commands. Each
// choice sees the ones before it, as they are part of the draft already.
func Decide(draft *fsm.Draft) {
	if !draft.View().HasWork() {
		return
	}
	d := &decider{draft: draft, view: draft.View()}
	d.judge()
	d.placePinned()
	d.placeWaiting()
}

// Plan gives what [Decide] would add to an entry made now. The view must not be
// forked by another goroutine at the same time.
func Plan(v fsm.View) []fsm.Command {
	draft := v.Fork().Draft(fsm.Stamp{Instant: v.Now(), Wall: v.Wall()})
	Decide(draft)
	return draft.Entry().Commands
}

type decider struct {
	draft *fsm.Draft
	view  fsm.View // of the draft
	added int
}

func (d *decider) full() bool { return d.added >= MaxAssignments }

// try adds a command to the draft if it holds there.
func (d *decider) try(cmd fsm.Command) bool {
	if d.draft.Try(cmd) != nil {
		return false
	}
	d.added++
	return true
}

// assign tries one assignment.
func (d *decider) assign(t *fsm.TaskRun, w *fsm.Worker, reason string) bool {
	return d.try(fsm.NewAssign(t, w, reason, reason == ReasonPinMoved))
}

// placeWaiting serves the classes of unpinned task runs, the best head first.
// All task runs of a class ask the same, so a class whose head finds no worker
// is done for this pass: what waits behind it costs nothing.
func (d *decider) placeWaiting() {
	var q classQueue
	for h, ok := d.view.Class(""); ok; h, ok = d.view.Class(h.Class + "\x00") {
		q = append(q, h)
	}
	heap.Init(&q)
	for q.Len() > 0 && !d.full() {
		head := q[0]
		t, ok := d.view.TaskRun(head.Task)
		if !ok || !d.placeFirst(t) {
			heap.Pop(&q)
			continue
		}
		d.placeSiblings(t)
		next, ok := d.view.Class(head.Class)
		if ok && next.Class == head.Class {
			q[0] = next
			heap.Fix(&q, 0)
		} else {
			heap.Pop(&q)
		}
	}
}

// classQueue is a heap of the heads of classes.
type classQueue []fsm.QueueHead

// Len is for container/heap.
func (q *classQueue) Len() int { return len(*q) }

// Less is for container/heap.
func (q *classQueue) Less(i, j int) bool { return (*q)[i].Before((*q)[j]) }

// Swap is for container/heap.
func (q *classQueue) Swap(i, j int) { (*q)[i], (*q)[j] = (*q)[j], (*q)[i] }

// Push adds a head; for container/heap only.
func (q *classQueue) Push(x any) {
	if h, ok := x.(fsm.QueueHead); ok {
		*q = append(*q, h)
	}
}

// Pop takes the last head off; for container/heap only.
func (q *classQueue) Pop() any {
	old := *q
	h := old[len(old)-1]
	*q = old[:len(old)-1]
	return h
}
