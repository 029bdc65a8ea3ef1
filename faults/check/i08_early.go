package check

import "github.com/limpet-dev/limpet/faults/history"

// Early checks I8.
func Early(h history.History) []Violation {
	f := found{invariant: "I8"}
	for _, e := range h {
		if e.Kind != history.Fired || e.At-e.Since >= e.Limit {
			continue
		}
		subject := "worker " + e.Worker
		if e.TaskRun != "" {
			subject = "task run " + e.TaskRun
		}
		f.add(e, "%s of %s fired after %v and not after %v", e.Cause, subject, e.At-e.Since, e.Limit)
	}
	return f.list
}
