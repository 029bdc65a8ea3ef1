package quorum

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A leader was frozen, and another was elected and took a trigger. When it woke
// up it read an answer that had lain in a buffer since before, took it for the
// word that it still led, and told a client that the run does not exist.
func TestAnAnswerFromBeforeTheReadDoesNotConfirmTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Acks
		servers := []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "guest", Suffrage: raft.Nonvoter}}
		sure := func(term uint64, since time.Time) bool {
			got, _ := a.Confirm("a", servers, term, since)
			return got
		}
		before := time.Now()
		time.Sleep(time.Minute) // frozen
		began := time.Now()
		a.Note("b", before, 7)
		a.Note("c", before, 7)
		if sure(7, began) {
			t.Error("answers to what was asked before the read confirm it")
		}
		a.Note("guest", began, 7)
		if sure(7, began) {
			t.Error("one who has no vote confirms the leader")
		}
		a.Note("b", began, 6)
		if sure(7, began) {
			t.Error("a follower of an earlier term confirms the leader")
		}
		_, changed := a.Confirm("a", servers, 7, began)
		a.Note("b", began, 7)
		select {
		case <-changed:
		default:
			t.Error("who waits is not told of an answer")
		}
		if !sure(7, began) {
			t.Error("two of three, one of them the leader itself, do not confirm it")
		}
		if got, _ := a.Confirm("a", servers[:1], 7, time.Now()); !got {
			t.Error("a leader without followers is not sure of itself")
		}
	})
}

// Heartbeats and entries go over several connections: a late answer to an old
// question took back what a newer one had confirmed.
func TestALateAnswerToAnOlderQuestionTakesNothingBack(t *testing.T) {
	var a Acks
	servers := []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	began := time.Now()
	a.Note("b", began.Add(time.Second), 7)
	for _, older := range []ack{{began.Add(-time.Second), 7}, {began.Add(2 * time.Second), 6}} {
		a.Note("b", older.asked, older.term)
		if ok, _ := a.Confirm("a", servers, 7, began); !ok {
			t.Errorf("an answer of term %d to what was asked %v after the read began hides a newer one", older.term, older.asked.Sub(began))
		}
	}
	a.Note("b", began.Add(-time.Second), 8)
	if ok, _ := a.Confirm("a", servers, 7, began); ok {
		t.Error("a follower of a later term confirms the leader of an earlier one")
	}
}
