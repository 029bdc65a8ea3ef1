package check

import "github.com/limpet-dev/limpet/faults/history"

// Kept checks I1: what a trigger, an event or a completion was acknowledged for
// is in the state at the end, what one call asked for is there once, and what was
// refused is not there. Of a start that is acknowledged, the state has told before
// that the attempt runs, or how it ended.
func Kept(h history.History) []Violation {
	if !rested(h) {
		return nil
	}
	f := found{invariant: "I1"}
	runs, events := map[string]bool{}, map[string]bool{}
	calls := map[string]string{}
	done := map[attempt]history.Event{}           // how attempts have ended in the state
	sawEnds, replayed := false, map[string]bool{} // a replay may come in the entry of the completion
	for _, e := range h {
		switch e.Kind {
		case history.Kept:
			if e.Run == "" {
				events[e.Detail] = true
				continue
			}
			runs[e.Run] = true
			if other := calls[e.Call]; e.Call != "" && other != "" {
				f.add(e, "call %s made the runs %s and %s", e.Call, other, e.Run)
			}
			calls[e.Call] = e.Run
		case history.Invoke:
			replayed[e.Run] = replayed[e.Run] || e.Op == history.OpReplay
		case history.Ended:
			done[attemptOf(e)] = e
			sawEnds = true
		}
	}
	begun := map[attempt]bool{} // which have begun or ended in the state so far
	for _, e := range h {
		switch {
		case e.Kind == history.Begun || e.Kind == history.Ended:
			begun[attemptOf(e)] = true
		case e.Kind == history.OK && e.Op == history.OpTrigger && !runs[e.Run]:
			f.add(e, "run %s was acknowledged to %s and is not known at the end", e.Run, e.Client)
		case e.Kind == history.Refused && e.Op == history.OpTrigger && e.Call != "" && calls[e.Call] != "":
			f.add(e, "call %s was refused to %s and has made the run %s: %s", e.Call, e.Client, calls[e.Call], e.Detail)
		case e.Kind == history.OK && e.Op == history.OpEvent && !events[e.Detail]:
			f.add(e, "event %s was acknowledged to %s and is not known at the end", e.Detail, e.Client)
		case e.Kind == history.Reported && e.Op == history.OpCompleted && e.Status == history.Accepted && sawEnds && !replayed[e.Run]:
			if end, ok := done[attemptOf(e)]; !ok || end.Status != history.Completed {
				f.add(e, "the completion of task run %s, attempt %d, was accepted from worker %s and is %q in the state",
					e.TaskRun, e.Attempt, e.Worker, end.Status)
			}
		case e.Kind == history.Reported && e.Op == history.OpStarted && e.Status == history.Accepted && sawEnds && !begun[attemptOf(e)]:
			f.add(e, "that task run %s, attempt %d, has started was accepted from worker %s and is not known to the state", e.TaskRun, e.Attempt, e.Worker)
		}
	}
	return f.list
}
