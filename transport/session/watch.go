package session

import (
	"sync"

	"github.com/limpet-dev/limpet/fsm"
)

// Watcher waits for runs to finish on behalf of one caller. It must be closed.
type Watcher struct {
	hub  *Hub
	wake chan struct{}
	// changes: it is woken by every change of a run, not only by its end.
	changes bool

	mu     sync.Mutex
	runs   map[fsm.RunID]struct{} // watched
	dirty  map[fsm.RunID]struct{} // watched, and perhaps finished
	behind bool                   // more has changed than dirty holds
}

// maxBehind is how many changed runs wait for a follower. One that is further
// behind has lost track.
const maxBehind = 100_000

// Watch makes a watcher of no runs.
func (h *Hub) Watch() *Watcher {
	return &Watcher{
		hub:   h,
		wake:  make(chan struct{}, 1),
		runs:  map[fsm.RunID]struct{}{},
		dirty: map[fsm.RunID]struct{}{},
	}
}

// WatchChanges makes a watcher of no runs that is woken by every change of the
// runs that are added to it.
func (h *Hub) WatchChanges() *Watcher {
	w := h.Watch()
	w.changes = true
	return w
}

// Follow makes a watcher of every change of every run, from now on.
func (h *Hub) Follow() *Watcher {
	w := h.WatchChanges()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers[w] = struct{}{}
	return w
}

// Add watches a run. Read the state after it: a run that had finished before
// gives no wake-up.
func (w *Watcher) Add(run fsm.RunID) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	set := w.hub.watchers[run]
	if set == nil {
		set = map[*Watcher]struct{}{}
		w.hub.watchers[run] = set
	}
	set[w] = struct{}{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[run] = struct{}{}
}

// Remove stops watching a run.
func (w *Watcher) Remove(run fsm.RunID) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.removeLocked(run)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, run)
	delete(w.dirty, run)
}

func (w *Watcher) removeLocked(run fsm.RunID) {
	set := w.hub.watchers[run]
	delete(set, w)
	if len(set) == 0 {
		delete(w.hub.watchers, run)
	}
}

// Close stops watching.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hub.followers, w)
	for run := range w.runs {
		w.removeLocked(run)
	}
	clear(w.runs)
	clear(w.dirty)
}

// C receives when [Watcher.Changed] has something to give.
func (w *Watcher) C() <-chan struct{} { return w.wake }

// Changed gives the watched runs that were woken since it was last called. The
// state says whether they have finished.
func (w *Watcher) Changed() []fsm.RunID {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]fsm.RunID, 0, len(w.dirty))
	for run := range w.dirty {
		out = append(out, run)
	}
	clear(w.dirty)
	return out
}

// Behind reports whether a follower was so slow that changes were dropped. What
// it has told so far is incomplete then.
func (w *Watcher) Behind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.behind
}

// mark is called by the hub with its lock held. A watcher of runs that were
// added holds no more than those; a follower's memory is bounded here.
func (w *Watcher) mark(run fsm.RunID) {
	w.mu.Lock()
	if len(w.dirty) < maxBehind || len(w.runs) > 0 {
		w.dirty[run] = struct{}{}
	} else if _, ok := w.dirty[run]; !ok {
		w.behind = true
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
