package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// holdings knows up to which entry the log of each follower goes, by the answers to
// the entries that this node has sent as the leader of a term. A follower that was sent
// none is not known. One that truncates its log for another leader has less than that:
// it is a hint.
type holdings struct {
	mu    sync.Mutex
	last  map[raft.ServerID]held
	grown chan struct{} // capacity 1: a follower has more
}

// held is an entry of a follower's log, in the term of the leader that sent it.
type held struct{ term, index uint64 }

func newHoldings() *holdings {
	return &holdings{last: map[raft.ServerID]held{}, grown: make(chan struct{}, 1)}
}

// note takes a follower's answer to a request. Answers of an older pipeline may come
// after those of a newer one.
func (h *holdings) note(id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
	n := len(req.Entries)
	if n == 0 || !resp.Success || resp.Term != req.Term {
		return
	}
	got := held{req.Term, req.Entries[n-1].Index}
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last[id]; got.term > last.term || got.term == last.term && got.index > last.index {
		h.last[id] = got
		signal(h.grown)
	}
}

// lacks says whether a follower does not have an entry yet, as far as is known.
func (h *holdings) lacks(id raft.ServerID, index uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.last[id]
	return known && last.index < index
}
