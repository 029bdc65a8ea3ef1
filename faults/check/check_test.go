package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

type ev = history.Event

// assign and done are one attempt in the state's words.
func assign(task string, attempt int32, worker string) ev {
	return ev{Kind: history.Assigned, Run: "r", TaskRun: task, Attempt: attempt, Worker: worker, Epoch: 1}
}

func done(task string, attempt int32, worker string) ev { //nolint:unparam // as assign
	return ev{
		Kind: history.Ended, Run: "r", TaskRun: task, Attempt: attempt, Worker: worker, Status: history.Completed,
		Output: check.Output(task, attempt, worker),
	}
}

func hard(kind history.Kind, worker string) ev {
	return ev{Kind: kind, Run: "r", TaskRun: "t", Worker: worker, Strategy: history.Hard}
}

func soft(kind history.Kind, worker, cause string) ev {
	return ev{Kind: kind, Run: "r", TaskRun: "t", Worker: worker, Strategy: history.Soft, Cause: cause}
}

func lease(status, mode string, epoch int64) ev {
	return ev{Kind: history.Lease, Worker: "a", Status: status, Mode: mode, Epoch: epoch}
}

func final(output string) ev {
	return ev{Kind: history.RunFinal, Run: "r", Status: history.Completed, Output: output}
}

func told(client, output string) ev {
	return ev{Kind: history.Delivered, Run: "r", Client: client, Status: history.Completed, Output: output}
}

var (
	rest      = ev{Kind: history.Rest}
	triggered = ev{Kind: history.OK, Op: history.OpTrigger, Run: "r", Client: "c"}
	refusal   = ev{Kind: history.Refused, Op: history.OpTrigger, Call: "x", Client: "c"}
	keptRun   = ev{Kind: history.Kept, Run: "r", Status: history.Completed}
	subscribe = ev{Kind: history.Subscribed, Run: "r", Client: "c"}
	gaveUp    = ev{Kind: history.GaveUp, Run: "r", Client: "c"}
	replay    = ev{Kind: history.Invoke, Op: history.OpReplay, Run: "r"}
	release   = ev{Kind: history.Invoke, Op: history.OpRelease, Run: "r"}
	ask       = ev{Kind: history.Invoke, Op: history.OpRead, Run: "r", Call: "x"}
	unfound   = ev{Kind: history.OK, Op: history.OpRead, Run: "r", Call: "x"}
	twoSlots  = ev{Kind: history.WorkerStart, Worker: "w", Slots: 2}
)

// planted are histories of the invariants; want is a part of what is found, and
// empty for what is allowed.
var planted = []struct {
	name, invariant, want string
	h                     history.History
}{
	{"a trigger that is kept", "I1", "", history.History{triggered, rest, keptRun}},
	{"a lost trigger", "I1", "is not known at the end", history.History{triggered, rest}},
	{"a history cut short", "I1", "", history.History{triggered}},
	{"a lost event", "I1", "event e was acknowledged", history.History{{Kind: history.OK, Op: history.OpEvent, Detail: "e"}, rest}},
	{"a kept event", "I1", "", history.History{{Kind: history.OK, Op: history.OpEvent, Detail: "e"}, rest, {Kind: history.Kept, Detail: "e"}}},
	{"a call that was made twice", "I1", "call x made the runs r and s", history.History{
		rest, {Kind: history.Kept, Run: "r", Call: "x"}, {Kind: history.Kept, Run: "s", Call: "x"},
	}},
	{"a refused call that made a run", "I1", "call x was refused to c and has made the run r", history.History{
		refusal, rest, {Kind: history.Kept, Run: "r", Call: "x"},
	}},
	{"a refused call that made none", "I1", "", history.History{refusal, rest, {Kind: history.Kept, Run: "r", Call: "y"}, {Kind: history.Kept, Run: "s"}}},
	{"an unknown call that made a run", "I1", "", history.History{
		{Kind: history.Unknown, Op: history.OpTrigger, Call: "x", Client: "c"}, rest, {Kind: history.Kept, Run: "r", Call: "x"},
	}},
	{"a lost completion", "I1", "was accepted from worker w", history.History{
		assign("t", 0, "w"),
		{Kind: history.Reported, Op: history.OpCompleted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		{Kind: history.Ended, TaskRun: "t", Status: "QUEUED"},
		rest,
	}},
	{"a kept completion", "I1", "", history.History{
		assign("t", 0, "w"),
		{Kind: history.Reported, Op: history.OpCompleted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		done("t", 0, "w"), rest,
	}},

	{"a lost start", "I1", "has started was accepted from worker w", history.History{
		assign("t", 0, "w"),
		{Kind: history.Reported, Op: history.OpStarted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		{Kind: history.Begun, TaskRun: "t", Attempt: 1, Worker: "w"},
		done("t", 1, "w"), rest,
	}},
	{"a start that was acknowledged too early", "I1", "has started was accepted from worker w", history.History{
		assign("t", 0, "w"),
		{Kind: history.Reported, Op: history.OpStarted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		done("t", 0, "w"), rest,
	}},
	{"a kept start", "I1", "", history.History{
		assign("t", 0, "w"),
		{Kind: history.Begun, TaskRun: "t", Worker: "w"},
		{Kind: history.Reported, Op: history.OpStarted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		done("t", 0, "w"), rest,
	}},
	{"a start of which only the end is known", "I1", "", history.History{
		assign("t", 0, "w"),
		{Kind: history.Ended, TaskRun: "t", Status: "QUEUED"},
		{Kind: history.Reported, Op: history.OpStarted, Status: history.Accepted, TaskRun: "t", Worker: "w"},
		rest,
	}},

	{"one worker", "I2", "", history.History{hard(history.Pinned, "a"), hard(history.Begin, "a"), hard(history.Begin, "a")}},
	{"two workers", "I2", "executed on the workers [a b]", history.History{hard(history.Begin, "a"), hard(history.Begin, "b")}},
	{"two workers after a release", "I2", "", history.History{
		hard(history.Pinned, "a"), hard(history.Begin, "a"), release, {Kind: history.Unpinned, Run: "r"}, hard(history.Pinned, "b"), hard(history.Begin, "b"),
	}},
	{"three workers after a release", "I2", "with 1 releases", history.History{
		hard(history.Begin, "a"), release, hard(history.Begin, "b"), hard(history.Begin, "c"),
	}},
	{"a moved pin", "I2", "went from worker a to b", history.History{hard(history.Pinned, "a"), hard(history.Pinned, "b")}},

	{"moved after a loss", "I3", "", history.History{
		lease(history.LeaseLive, history.ModeActive, 1), soft(history.Pinned, "a", ""), lease(history.LeaseLost, history.ModeActive, 1), soft(history.Pinned, "b", "moved"),
	}},
	{"moved by a drain", "I3", "", history.History{
		soft(history.Pinned, "a", ""), lease(history.LeaseLive, history.ModeDraining, 1), soft(history.Pinned, "b", "moved"),
	}},
	{"moved from a live worker", "I3", "whose lease was live", history.History{
		lease(history.LeaseLive, history.ModeActive, 1), soft(history.Pinned, "a", ""), soft(history.Pinned, "b", "moved"),
	}},
	{"an overflow", "I3", "", history.History{soft(history.Pinned, "a", ""), soft(history.Assigned, "b", "OVERFLOW")}},
	{"a secret overflow", "I3", "not as an overflow", history.History{soft(history.Pinned, "a", ""), soft(history.Assigned, "b", "LEAST_LOADED")}},
	{"no pin", "I3", "has no pin", history.History{soft(history.Assigned, "b", "LEAST_LOADED")}},

	{"attempts in order", "I4", "", history.History{assign("t", 0, "a"), {Kind: history.Ended, TaskRun: "t"}, assign("t", 1, "b"), done("t", 1, "b")}},
	{"two live assignments", "I4", "while worker a had attempt 0", history.History{assign("t", 0, "a"), assign("t", 1, "b")}},
	{"an attempt twice", "I4", "as attempt 0 after attempt 0", history.History{assign("t", 0, "a"), {Kind: history.Ended, TaskRun: "t"}, assign("t", 0, "b")}},
	{"a fenced completion", "I4", "with the output", history.History{
		assign("t", 1, "b"), {Kind: history.Ended, TaskRun: "t", Attempt: 1, Status: history.Completed, Output: check.Output("t", 0, "a")},
	}},
	{"an attempt on two workers", "I4", "by worker a and by worker b", history.History{
		{Kind: history.Begin, TaskRun: "t", Worker: "a"}, {Kind: history.Begin, TaskRun: "t", Worker: "b"},
	}},
	{"an epoch that falls", "I4", "went from 2 back to 1", history.History{lease(history.LeaseLive, "", 2), lease(history.LeaseLive, "", 1)}},
	{"an old epoch", "I4", "which is at 2", history.History{lease(history.LeaseLive, "", 2), assign("t", 0, "a")}},

	{"one leader", "I5", "", history.History{{Kind: history.Leader, Term: 2, Node: "n1"}, {Kind: history.Proposed, Term: 2, Node: "n1"}}},
	{"two leaders", "I5", "both led", history.History{{Kind: history.Leader, Term: 2, Node: "n1"}, {Kind: history.Leader, Term: 2, Node: "n2"}}},
	{"a stranger's entry", "I5", "whose leader was n1", history.History{{Kind: history.Leader, Term: 2, Node: "n1"}, {Kind: history.Proposed, Term: 2, Node: "n2"}}},
	{"an order that nobody logged", "I5", "which the log assigned to", history.History{assign("t", 0, "a"), {Kind: history.Ordered, TaskRun: "t", Attempt: 1, Worker: "a"}}},
	{"an order that was logged", "I5", "", history.History{{Kind: history.Ordered, TaskRun: "t", Worker: "a"}, assign("t", 0, "a")}},

	{"a body that nobody logged", "I5", "which the log assigned to", history.History{assign("t", 0, "a"), {Kind: history.Begin, TaskRun: "u", Worker: "a"}}},
	{"a body that was logged", "I5", "", history.History{{Kind: history.Begin, TaskRun: "t", Worker: "a"}, assign("t", 0, "a")}},

	{"an index and a seq", "I6", "", history.History{{Kind: history.Hash, Index: 9, Hash: "x", Node: "a"}, {Kind: history.Hash, Seq: 9, Hash: "y", Node: "a"}}},
	{"equal states", "I6", "", history.History{{Kind: history.Hash, Index: 9, Hash: "x", Node: "a"}, {Kind: history.Hash, Index: 9, Hash: "x", Node: "b"}, {Kind: history.Hash, Index: 10, Hash: "y", Node: "b"}}},
	{"states that differ", "I6", "after entry 9", history.History{{Kind: history.Hash, Index: 9, Hash: "x", Node: "a"}, {Kind: history.Hash, Index: 9, Hash: "y", Node: "b"}}},

	{"an end", "I7", "", history.History{rest, keptRun}},
	{"no end", "I7", "is RUNNING at the end", history.History{rest, {Kind: history.Kept, Run: "r", Status: "RUNNING"}}},

	{"undelivered", "I7", "was not delivered to worker w", history.History{
		{Kind: history.WorkerAttach, Worker: "w"}, {Kind: history.Fired, At: 5 * time.Second, Worker: "w", Cause: check.CauseDelivery},
	}},
	{"undelivered in a fault", "I7", "", history.History{
		{Kind: history.WorkerAttach, Worker: "w"}, {Kind: history.FaultBegin}, {Kind: history.Fired, At: 5 * time.Second, Worker: "w", Cause: check.CauseDelivery},
	}},

	{"in time", "I8", "", history.History{{Kind: history.Fired, At: 5 * time.Second, Since: 2 * time.Second, Limit: 3 * time.Second}}},
	{"early", "I8", "fired after 2s", history.History{{Kind: history.Fired, At: 5 * time.Second, Since: 3 * time.Second, Limit: 3 * time.Second}}},

	{"a result", "I9", "", history.History{subscribe, final("1"), told("c", "1"), rest, keptRun}},
	{"who gave up before the end", "I9", "", history.History{subscribe, gaveUp, final("1"), rest, keptRun}},
	{"who gave up after the end", "I9", "was not told", history.History{subscribe, final("1"), gaveUp, rest, keptRun}},
	{"no result", "I9", "was not told", history.History{subscribe, final("1"), rest, keptRun}},
	{"two results", "I9", "as COMPLETED 1 and as COMPLETED 2", history.History{told("c", "1"), told("d", "2")}},
	{"a result each of two ends", "I9", "", history.History{final("1"), told("c", "1"), replay, final("2"), told("d", "2")}},
	{"an invented result", "I9", "which it never was", history.History{final("1"), told("c", "2")}},

	{"full", "I10", "", history.History{twoSlots, assign("t", 0, "w"), assign("u", 0, "w"), done("t", 0, "w"), assign("v", 0, "w")}},
	{"over full", "I10", "2 slots, 3 assignments", history.History{twoSlots, assign("t", 0, "w"), assign("u", 0, "w"), assign("v", 0, "w")}},
	{"lent slots", "I10", "", history.History{
		twoSlots, assign("t", 0, "w"), assign("u", 0, "w"),
		{Kind: history.Assigned, TaskRun: "v", Worker: "w", Lender: "t", Epoch: 1},
	}},

	{"a read that finds", "reads", "", history.History{triggered, ask, {Kind: history.OK, Op: history.OpRead, Run: "r", Call: "x", Status: "RUNNING"}}},
	{"a read that began before", "reads", "", history.History{ask, triggered, unfound}},
	{"a stale read", "reads", "did not find run r", history.History{triggered, ask, unfound}},
	{"a read behind another", "reads", "did not find run r", history.History{
		{Kind: history.OK, Op: history.OpRead, Run: "r", Call: "w", Status: "RUNNING"}, ask, unfound,
	}},
}

func TestPlantedViolationsAreFound(t *testing.T) {
	checkers := map[string]func(history.History) []check.Violation{}
	caught := map[string]int{}
	for _, c := range check.All() {
		checkers[c.Invariant] = c.Check
	}
	for _, c := range planted {
		t.Run(c.invariant+" "+c.name, func(t *testing.T) {
			got := fmt.Sprint(checkers[c.invariant](c.h))
			if c.want == "" && got != "[]" || !strings.Contains(got, c.want) {
				t.Errorf("found %s, want %q", got, c.want)
			}
			if c.want != "" {
				caught[c.invariant]++
			}
		})
	}
	for _, c := range check.All() {
		if caught[c.Invariant] == 0 {
			t.Errorf("no planted violation for %s", c.Invariant)
		}
	}
}

func TestAllOfThemRun(t *testing.T) {
	h := history.History{{Kind: history.Hash, Index: 9, Hash: "x", Node: "a"}, {Kind: history.Hash, Index: 9, Hash: "y", Node: "b"}, triggered, rest}
	got := map[string]bool{}
	for _, v := range check.Run(h) {
		got[v.Invariant] = true
	}
	if len(got) != 2 || !got["I1"] || !got["I6"] {
		t.Errorf("found violations of %v", got)
	}
}
