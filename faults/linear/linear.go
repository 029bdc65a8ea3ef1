// Package linear judges with Porcupine whether reads were linearizable: each
// run is a register that is written once, by its trigger, and read by clients.
// It is apart from package check because Porcupine must not reach the binary.
package linear

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

// timeout bounds the search; a history that is not decided by then says nothing.
const timeout = 5 * time.Second

type call struct{ write bool }

// register is a run: it exists or not, and never goes away.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return false },
		Step: func(state, input, output any) (bool, any) {
			exists, in, found := state == true, input == call{write: true}, output == true
			if in {
				return true, true
			}
			return found == exists, exists
		},
	}
}

// Reads checks the triggers and the reads of every run. A trigger with an
// unknown outcome may take effect at any time after it, or never; a read without
// an answer says nothing.
func Reads(h history.History) (violations []check.Violation, undecided int) {
	type op struct{ invoke, answer int }
	calls := map[string]*op{}
	var order []string
	for i, e := range h {
		if e.Op != history.OpTrigger && e.Op != history.OpRead {
			continue
		}
		switch e.Kind {
		case history.Invoke:
			calls[e.Call] = &op{i, -1}
			order = append(order, e.Call)
		case history.OK, history.Refused:
			if c := calls[e.Call]; c != nil {
				c.answer = i
			}
		}
	}
	registers := map[string][]porcupine.Operation{}
	read := map[string]bool{}
	var runs []string
	for id, name := range order {
		c := calls[name]
		e := h[c.invoke]
		if e.Run == "" && c.answer >= 0 {
			e.Run = h[c.answer].Run // the node gave the run its id
		}
		o := porcupine.Operation{ClientId: id, Input: call{e.Op == history.OpTrigger}, Call: int64(c.invoke), Return: int64(len(h))}
		switch {
		case c.answer >= 0 && e.Op == history.OpTrigger && h[c.answer].Kind == history.Refused:
			continue
		case c.answer >= 0:
			o.Return, o.Output = int64(c.answer), h[c.answer].Status != ""
		case e.Run == "" || e.Op == history.OpRead:
			continue
		}
		if registers[e.Run] == nil {
			runs = append(runs, e.Run)
		}
		read[e.Run] = read[e.Run] || e.Op == history.OpRead
		registers[e.Run] = append(registers[e.Run], o)
	}
	for _, run := range runs {
		if !read[run] {
			continue
		}
		switch porcupine.CheckOperationsTimeout(register(), registers[run], timeout) {
		case porcupine.Illegal:
			violations = append(violations, check.Violation{
				Invariant: "reads", Run: run,
				Text: fmt.Sprintf("the %d calls about run %s have no order in which each read sees the triggers before it", len(registers[run]), run),
			})
		case porcupine.Unknown:
			undecided++
		case porcupine.Ok:
		}
	}
	return violations, undecided
}
