package cluster

import (
	"sync"

	"github.com/limpet-dev/limpet/fsm"
)

// hints are the workers that changed since the judge of leases last looked, so
// that a broken stream is judged at once and not at the next tick.
type hints struct {
	wake chan struct{} // capacity 1

	mu  sync.Mutex
	ids map[fsm.WorkerID]struct{}
}

func newHints() *hints { return &hints{wake: make(chan struct{}, 1), ids: map[fsm.WorkerID]struct{}{}} }

// note keeps the workers among the effects. It is called while entries are
// applied and does no more than that.
func (h *hints) note(effects []fsm.Effect) {
	found := false
	h.mu.Lock()
	for _, e := range effects {
		if e.Kind == fsm.WorkerChanged {
			h.ids[fsm.WorkerID(e.ID)] = struct{}{}
			found = true
		}
	}
	h.mu.Unlock()
	if found {
		signal(h.wake)
	}
}

// suspect reports whether any of the workers noted is suspect, and forgets them.
func (h *hints) suspect(v fsm.View) bool {
	h.mu.Lock()
	ids := h.ids
	h.ids = map[fsm.WorkerID]struct{}{}
	h.mu.Unlock()
	for id := range ids {
		if w, ok := v.Worker(id); ok && w.Lease.State == fsm.LeaseSuspect {
			return true
		}
	}
	return false
}
