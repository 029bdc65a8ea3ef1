package bench

import (
	"testing"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
)

func order(attempt int32) *compat.AssignedAction {
	return &compat.AssignedAction{TaskRunExternalId: "a", RetryCount: attempt, ActionPayload: `{"input": {"due": 1000000000, "p": "x"}}`}
}

func TestEvidenceTellsDoubledFromSentAgain(t *testing.T) {
	one, two := &worker{id: "one"}, &worker{id: "two"}
	e := &evidence{tasks: map[string]*taskSeen{}}
	for _, c := range []struct {
		name            string
		w               *worker
		a               *compat.AssignedAction
		execute         bool
		doubled, again_ int64
		moved           int64
	}{
		{"first", one, order(0), true, 0, 0, 0},
		{"the same again", one, order(0), false, 0, 1, 0},
		{"the same elsewhere", two, order(0), false, 1, 1, 0},
		{"a later attempt", two, order(1), true, 1, 1, 1},
	} {
		if got := e.see(c.w, c.a); got != c.execute || e.doubled != c.doubled || e.again != c.again_ || e.moved != c.moved {
			t.Errorf("%s: execute %v doubled %d again %d moved %d, want %+v", c.name, got, e.doubled, e.again, e.moved, c)
		}
	}
	e.completed(order(0)) // of an attempt that is over
	if e.tasks["a"].completed {
		t.Error("a report of an earlier attempt counts")
	}
	e.completed(order(1))
	if e.see(two, order(1)); e.again != 2 || e.doubled != 1 {
		t.Errorf("sent again after its end: again %d doubled %d, want 2 and 1", e.again, e.doubled)
	}
	if e.see(one, order(2)); e.doubled != 2 {
		t.Errorf("given out after its end: doubled %d, want 2", e.doubled)
	}
	if len(e.assigned) != 2 || !e.assigned[0].due.Equal(time.Unix(1, 0)) {
		t.Errorf("assigned is %v", e.assigned)
	}
}

func TestOutageIsTheLongestSilence(t *testing.T) {
	zero := time.Unix(100, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	e := &evidence{assigned: []assignment{
		{at(-50), at(-60)}, {at(20), at(-10)}, {at(30), at(-5)}, {at(800), at(10)}, {at(810), at(800)}, {at(9000), at(8990)},
	}}
	gap, first := e.outage(at(0), at(1000))
	if gap != 770*time.Millisecond || first != 800*time.Millisecond {
		t.Errorf("gap %v, first %v; want 770ms and 800ms", gap, first)
	}
	if gap, first = e.outage(at(2000), at(3000)); gap != time.Second || first != time.Second {
		t.Errorf("without any: gap %v, first %v; want 1s each", gap, first)
	}
}

func TestTextAfter(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"due":12,"x":3}`: "12", `{"due": "w"}`: "w", `{"due":7}`: "7", `{}`: "", `{"due":9`: "9",
	} {
		if got := textAfter(text, `"due":`); got != want {
			t.Errorf("in %s: %q, want %q", text, got, want)
		}
	}
}
