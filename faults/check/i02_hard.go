package check

import (
	"slices"

	"github.com/limpet-dev/limpet/faults/history"
)

// causes of a pin in the state's words.
const (
	causeAgain    = "pinned anew"
	causeOperator = "moved by an operator"
)

// Hard checks I2 by what workers executed. Another worker needs a client that
// asked for it: by a release, a move or a replay. And the pin itself never
// changes hands without one of these.
func Hard(h history.History) []Violation {
	f := found{invariant: "I2"}
	type run struct {
		pin     string
		workers []string
		allowed int
	}
	runs := map[string]*run{}
	of := func(id string) *run {
		if runs[id] == nil {
			runs[id] = &run{allowed: 1}
		}
		return runs[id]
	}
	for _, e := range h {
		switch {
		case e.Kind == history.Invoke && (e.Op == history.OpRelease || e.Op == history.OpMove || e.Op == history.OpReplay):
			of(e.Run).allowed++
		case e.Kind == history.Pinned && e.Strategy == history.Hard:
			r := of(e.Run)
			if r.pin != "" && r.pin != e.Worker && e.Cause != causeOperator {
				f.add(e, "the HARD pin of run %s went from worker %s to %s: %s", e.Run, r.pin, e.Worker, e.Cause)
			}
			r.pin = e.Worker
		case e.Kind == history.Unpinned:
			of(e.Run).pin = ""
		case e.Kind == history.Begin && e.Strategy == history.Hard:
			r := of(e.Run)
			if slices.Contains(r.workers, e.Worker) {
				continue
			}
			r.workers = append(r.workers, e.Worker)
			if len(r.workers) > r.allowed {
				f.add(e, "HARD run %s executed on the workers %v, with %d releases, moves and replays", e.Run, r.workers, r.allowed-1)
			}
		}
	}
	return f.list
}
