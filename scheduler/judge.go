package scheduler

import (
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/expression"
)

// judge evaluates the expressions that wait for a verdict, and those that its
// verdicts bring up: a task that is skipped makes its children look. The
// verdicts are stored with the entry, so that no other node evaluates anything.
func (d *decider) judge() {
	questions := d.view.Questions(MaxAssignments)
	if len(questions) == 0 {
		return
	}
	e, err := expression.New()
	for ; len(questions) > 0 && !d.full(); questions = d.view.Questions(MaxAssignments) {
		for _, q := range questions {
			var holds bool
			fault := err
			if err == nil {
				holds, fault = e.Holds(q.Expression, q.Output, q.Payload)
			}
			text := ""
			if fault != nil {
				text = fault.Error()
			}
			d.draft.Add(fsm.NewJudgement(q.Case, holds, text)) // it closes the case, whatever else
			d.added++
		}
	}
}

// serveLenders lets task runs of children take over the slots that their parent
// task runs hold at a worker that has no room for them otherwise.
func (d *decider) serveLenders(id fsm.WorkerID) {
	var held []*fsm.TaskRun
	for t := range d.view.Assignments(id) {
		held = append(held, t)
	}
	for _, p := range held {
		t, ok := d.view.Borrower(p)
		if !ok || d.full() {
			continue
		}
		w, ok := d.view.Worker(id)
		if !ok || d.view.Rejects(w, t) == "" {
			continue // there is room: it is placed like any other
		}
		reason := ReasonParent
		if _, pinned := d.view.Pin(t.Run); pinned {
			reason = ReasonPinned
		}
		d.try(fsm.NewBorrow(t, w, reason))
	}
}
