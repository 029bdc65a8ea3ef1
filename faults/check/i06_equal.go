package check

import "github.com/limpet-dev/limpet/faults/history"

// Equal checks I6.
func Equal(h history.History) []Violation {
	f := found{invariant: "I6"}
	type point struct{ index, seq uint64 } // one of them is 0
	first := map[point]history.Event{}
	bad := map[string]bool{} // a node that differs differs for ever
	for _, e := range h {
		if e.Kind != history.Hash {
			continue
		}
		at := point{e.Index, e.Seq}
		o, ok := first[at]
		switch {
		case !ok:
			first[at] = e
		case o.Hash != e.Hash && !bad[o.Node+e.Node]:
			bad[o.Node+e.Node] = true
			f.add(e, "after entry %d the state of node %s is %s and that of node %s is %s", at.index+at.seq, o.Node, o.Hash, e.Node, e.Hash)
		}
	}
	return f.list
}
