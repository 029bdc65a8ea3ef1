package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// holdings knows up to which entry the log of each follower goes, by the answers to
// the entries that this node has sent as a leader. A follower that was sent none is not
// known. One that truncates its log for another leader has less than that: it is a
// hint.
type holdings struct {
	mu    sync.Mutex
	last  map[raft.ServerID]uint64
	grown chan struct{} // capacity 1: a follower has more
}

func newHoldings() *holdings {
	return &holdings{last: map[raft.ServerID]uint64{}, grown: make(chan struct{}, 1)}
}

// note takes a follower's answer to a request.
func (h *holdings) note(id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
	if n := len(req.Entries); n > 0 && resp.Success && resp.Term == req.Term {
		h.mu.Lock()
		h.last[id] = req.Entries[n-1].Index
		h.mu.Unlock()
		signal(h.grown)
	}
}

// lacks says whether a follower does not have an entry yet, as far as is known.
func (h *holdings) lacks(id raft.ServerID, index uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.last[id]
	return known && last < index
}
