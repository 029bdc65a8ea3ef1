package check

import "github.com/limpet-dev/limpet/faults/history"

// Results checks I9. A run that was replayed ends more than once; then a result
// must be one of those that it had. Who gave up before it ended is owed nothing.
func Results(h history.History) []Violation {
	f := found{invariant: "I9"}
	type result struct{ status, output string }
	had := map[string]map[result]bool{}
	kept := map[string]bool{}
	told := map[[2]string]bool{} // client, run
	left := map[[2]string]bool{} // before the end
	finals, rest := false, rested(h)
	for _, e := range h {
		switch e.Kind {
		case history.RunFinal:
			finals = true
			if had[e.Run] == nil {
				had[e.Run] = map[result]bool{}
			}
			had[e.Run][result{e.Status, e.Output}] = true
		case history.GaveUp:
			left[[2]string{e.Client, e.Run}] = had[e.Run] == nil
		case history.Delivered:
			told[[2]string{e.Client, e.Run}] = true
		case history.Kept:
			kept[e.Run] = e.Run != "" && history.Final(e.Status)
		}
	}
	replayed := map[string]bool{}
	same := map[string]result{}
	for _, e := range h {
		switch e.Kind {
		case history.Invoke:
			replayed[e.Run] = replayed[e.Run] || e.Op == history.OpReplay
		case history.Delivered:
			r := result{e.Status, e.Output}
			if before, ok := same[e.Run]; ok && before != r && !replayed[e.Run] {
				f.add(e, "run %s was told as %s %s and as %s %s", e.Run, before.status, before.output, r.status, r.output)
			}
			same[e.Run] = r
			if finals && !had[e.Run][r] {
				f.add(e, "%s was told that run %s is %s with the output %q, which it never was", e.Client, e.Run, e.Status, e.Output)
			}
		case history.Subscribed:
			who := [2]string{e.Client, e.Run}
			if rest && kept[e.Run] && !told[who] && !left[who] {
				f.add(e, "%s waited for run %s, which has ended, and was not told", e.Client, e.Run)
			}
		}
	}
	return f.list
}
