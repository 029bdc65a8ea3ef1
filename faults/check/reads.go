package check

import "github.com/limpet-dev/limpet/faults/history"

// Reads checks reads as far as one look at each can: a run that a client was
// told of, by its trigger or by a read, is found by every read that begins
// later, at whatever node. It is what makes a register that is written once and
// never erased linearizable, but for a read that finds a run before its trigger
// was made.
func Reads(h history.History) []Violation {
	f := found{invariant: "reads"}
	known := map[string]history.Event{} // by run: the first answer that told of it
	asked := map[string]history.Event{} // by call: what the reader could know when it asked
	for _, e := range h {
		switch {
		case e.Kind == history.Invoke && e.Op == history.OpRead:
			if told, ok := known[e.Run]; ok {
				asked[e.Call] = told
			}
		case e.Kind == history.OK && e.Op == history.OpRead && e.Status == "":
			if told, ok := asked[e.Call]; ok {
				f.add(e, "%s did not find run %s, of which %s was told at %v", e.Client, e.Run, told.Client, told.At)
			}
		case e.Kind == history.OK && (e.Op == history.OpTrigger || e.Op == history.OpRead):
			if _, ok := known[e.Run]; !ok {
				known[e.Run] = e
			}
		}
	}
	return f.list
}
