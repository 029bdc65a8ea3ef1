package check

import "github.com/limpet-dev/limpet/faults/history"

// Ends checks I7: at the end all runs that the state holds, and all that were
// acknowledged, are final.
func Ends(h history.History) []Violation {
	if !rested(h) {
		return nil
	}
	f := found{invariant: "I7"}
	for _, e := range h {
		if e.Kind == history.Kept && e.Run != "" && !history.Final(e.Status) {
			f.add(e, "run %s is %s at the end; %s", e.Run, e.Status, e.Detail)
		}
	}
	return f.list
}
