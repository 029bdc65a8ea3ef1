package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// Violation is a broken invariant.
type Violation struct {
	Invariant string        `json:"invariant"`
	At        time.Duration `json:"at"`
	Run       string        `json:"run,omitempty"`
	Text      string        `json:"text"`
}

// String gives the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s at %v: %s", v.Invariant, v.At, v.Text)
}

// Checker looks for violations of one invariant.
type Checker struct {
	Invariant string
	// Says is the invariant in a sentence.
	Says  string
	Check func(history.History) []Violation
}

// All gives the checkers, in order.
func All() []Checker {
	return []Checker{
		{"I1", "An acknowledged trigger, completion or event is never lost.", Kept},
		{"I2", "A HARD run's tasks never execute on two workers.", Hard},
		{"I3", "A SOFT run's pin moves only after its worker's lease ended or drained; overflow is recorded as such.", Soft},
		{"I4", "At most one live assignment per task run; no completion from a fenced attempt is accepted.", Fence},
		{"I5", "Only the leader of the current term assigns.", Leaders},
		{"I6", "Pins, leases and run states are identical on all nodes at equal index.", Equal},
		{"I7", "Every run reaches a terminal state once faults heal.", Ends},
		{"I8", "No lease or deadline fires early, whatever the wall clocks do.", Early},
		{"I9", "A finished run's result is delivered to every subscriber, through any node, at least once, and always the same.", Results},
		{"I10", "A worker's slots are never exceeded.", Slots},
		{"reads", "A run that somebody was told of is found by every later read, at any node.", Reads},
	}
}

// Run asks all checkers.
func Run(h history.History) []Violation {
	var out []Violation
	for _, c := range All() {
		out = append(out, c.Check(h)...)
	}
	return out
}

// found collects the violations of one invariant.
type found struct {
	invariant string
	list      []Violation
}

func (f *found) add(e history.Event, format string, args ...any) {
	f.list = append(f.list, Violation{Invariant: f.invariant, At: e.At, Run: e.Run, Text: fmt.Sprintf(format, args...)})
}

// attempt names one try of a task run.
type attempt struct {
	taskRun string
	number  int32
}

func attemptOf(e history.Event) attempt { return attempt{e.TaskRun, e.Attempt} }

// rested reports whether the history was brought to its end: only then does
// what is missing say anything.
func rested(h history.History) bool {
	for _, e := range slices.Backward(h) {
		if e.Kind == history.Rest {
			return true
		}
	}
	return false
}
