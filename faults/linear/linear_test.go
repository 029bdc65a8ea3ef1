package linear_test

import (
	"testing"

	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/faults/linear"
)

func event(kind history.Kind, op, call, status string) history.Event {
	return history.Event{Kind: kind, Op: op, Call: call, Run: "r", Status: status}
}

func TestReads(t *testing.T) {
	write, written := event(history.Invoke, history.OpTrigger, "1", ""), event(history.OK, history.OpTrigger, "1", "QUEUED")
	unknown := event(history.Unknown, history.OpTrigger, "1", "")
	read := func(call, status string) []history.Event {
		return []history.Event{event(history.Invoke, history.OpRead, call, ""), event(history.OK, history.OpRead, call, status)}
	}
	for _, c := range []struct {
		name string
		h    []history.Event
		bad  int
	}{
		{"after the write", append([]history.Event{write, written}, read("2", "RUNNING")...), 0},
		{"a stale read", append([]history.Event{write, written}, read("2", "")...), 1},
		{"during the write", append(append([]history.Event{write}, read("2", "")...), written), 0},
		{"out of nothing", append(read("2", "RUNNING"), write, written), 1},
		{"late, after an unknown outcome", append([]history.Event{write, unknown}, append(read("2", ""), read("3", "QUEUED")...)...), 0},
		{"never, after an unknown outcome", append([]history.Event{write, unknown}, read("2", "")...), 0},
		{"there and gone", append([]history.Event{write, unknown}, append(read("2", "QUEUED"), read("3", "")...)...), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, undecided := linear.Reads(c.h)
			if len(got) != c.bad || undecided != 0 {
				t.Errorf("found %v, %d undecided", got, undecided)
			}
		})
	}
}
