package check

import "github.com/limpet-dev/limpet/faults/history"

// Leaders checks I5: a term has one leader, only that one writes entries of the
// term, and a worker is ordered only what an entry of the log has assigned to
// it.
func Leaders(h history.History) []Violation {
	f := found{invariant: "I5"}
	leaders, writers := map[uint64]string{}, map[uint64]string{}
	assigned := map[attempt]string{}
	for _, e := range h {
		if e.Kind == history.Assigned {
			assigned[attemptOf(e)] = e.Worker
		}
	}
	for _, e := range h {
		switch e.Kind {
		case history.Leader:
			if l := leaders[e.Term]; l != "" && l != e.Node {
				f.add(e, "nodes %s and %s both led in term %d", l, e.Node, e.Term)
			}
			leaders[e.Term] = e.Node
		case history.Proposed:
			if w := writers[e.Term]; w != "" && w != e.Node {
				f.add(e, "entry %d of term %d came from node %s, and others of the term from %s", e.Index, e.Term, e.Node, w)
			}
			writers[e.Term] = e.Node
		case history.Ordered, history.Begin:
			if w, ok := assigned[attemptOf(e)]; len(assigned) > 0 && (!ok || w != e.Worker) {
				f.add(e, "worker %s was ordered%s to execute attempt %d of task run %s, which the log assigned to %q",
					e.Worker, by(e.Node), e.Attempt, e.TaskRun, w)
			}
		}
	}
	for term, w := range writers {
		if l := leaders[term]; l != "" && l != w {
			f.add(history.Event{}, "node %s wrote entries of term %d, whose leader was %s", w, term, l)
		}
	}
	return f.list
}

// by names the node that gave an order, if that is known: a worker that only
// wrote down what it executed does not say.
func by(node string) string {
	if node == "" {
		return ""
	}
	return " by node " + node
}
