package fsm_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// cell is one combination of features on the second task of a run, or on its
// child.
type cell struct {
	sticky   limpetv1.Strategy
	label    string // none, wished, required
	child    bool   // the second task is that of a child on its parent's worker
	retry    bool   // its first attempt fails
	sleep    bool   // it sleeps first
	timeout  bool   // its execution timeout ends its last attempt
	priority int32
}

// docFile is written by -rewrite.
const docFile = "../docs/matrix.md"

// TestEveryCombinationHasOneMeaning plays every combination of strategy, labels,
// children, retries, sleeps, timeouts and priorities, and compares what it comes
// to with the table in the docs. No combination may differ from its row.
func TestEveryCombinationHasOneMeaning(t *testing.T) {
	var rows []string
	cells := 0
	for _, sticky := range []limpetv1.Strategy{0, 1, 2} {
		for _, label := range []string{"none", "wished", "required"} {
			for _, child := range []bool{false, true} {
				meaning := ""
				for bits := range 16 {
					c := cell{sticky, label, child, bits&1 != 0, bits&2 != 0, bits&4 != 0, 1 + int32(bits&8)/4}
					got := c.play(t)
					cells++
					if meaning == "" {
						meaning = got
					}
					if got != meaning {
						t.Errorf("%+v: %s; the others of its row: %s", c, got, meaning)
					}
				}
				where := "a later task of the run"
				if child {
					where = "a child, on its parent's worker"
				}
				name := strings.TrimPrefix(sticky.String(), "STRATEGY_")
				rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", name, label, where, meaning))
			}
		}
	}
	text := matrixHead(cells) + strings.Join(rows, "\n") + "\n"
	if *rewrite {
		if err := os.WriteFile(docFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(docFile)
	if err != nil || string(have) != text {
		t.Errorf("%s is not what is played (%v); write it with -rewrite and look at the difference", docFile, err)
	}
}

func matrixHead(cells int) string {
	return fmt.Sprintf(`# What combinations of features mean

This table is written by a test that plays each of %d combinations on the state machine: strategy, label,
and child as in the rows, each with and without retries, a sleep, an execution timeout, and a raised priority.
The latter four change nothing in a row: a retry of a sticky run, or a task that has slept, goes where the pin says;
a timeout ends the attempt wherever it runs; priority orders what waits for one worker and moves nothing.

The first task runs on worker `+"`plain`"+`. The label is one that only worker `+"`labelled`"+` has; both are idle. A
label that is required comes before the pin: where both cannot be had, the task waits and says so.

| strategy | label | task | where it runs |
|---|---|---|---|
`, cells)
}

func (c cell) play(t *testing.T) string {
	t.Helper()
	b := newBed(t)
	opts := map[string]string{"schedule": "60s", "timeout": "5s"}
	switch c.label {
	case "wished":
		opts["label"] = "gpu=yes"
	case "required":
		opts["label"], opts["required"] = "gpu=yes", "yes"
	}
	if c.retry {
		opts["retries"] = "1"
	}
	if c.sleep {
		opts["wait"] = "sleep/3s"
	}
	// The first task can run on one worker only, so that the second has a choice.
	first := map[string]string{"label": "first=yes", "required": "yes"}
	path := "r.b"
	if c.child {
		path = "kid.b"
		b.workflow("w", c.sticky, []taskSpec{{name: "a", opts: first}})
		b.workflow("c", c.sticky, []taskSpec{{name: "b", opts: opts}})
	} else {
		b.workflow("w", c.sticky, []taskSpec{{name: "a", opts: first}, {name: "b", parents: []string{"a"}, opts: opts}})
	}
	actions := []string{"w:a", "w:b", "c:b"}
	b.register("plain", 5, []*limpetv1.Label{{Key: "first", Text: "yes"}}, slices.Clone(actions)...)
	b.register("labelled", 9, []*limpetv1.Label{{Key: "gpu", Text: "yes"}}, slices.Clone(actions)...)
	b.attach("plain", "node-1")
	b.attach("labelled", "node-1")
	b.names["r"] = b.trigger(&limpetv1.RunSpec{RunId: b.mint(), Workflow: "w", Priority: c.priority}).IDs[0]
	b.report("started", "r.a", -1, "")
	if c.child {
		parent := b.task("r.a")
		res := b.trigger(&limpetv1.RunSpec{
			RunId: b.mint(), Workflow: "c", Priority: c.priority, ParentRunId: string(parent.Run), ParentTaskRunId: string(parent.ID),
			DesiredWorker: b.id("plain"),
		})
		if res.Refusal != nil {
			return "refused at the trigger: " + res.Refusal.Want
		}
		b.names["kid"] = res.IDs[0]
	} else {
		b.report("completed", "r.a", -1, "")
	}
	return c.follow(b, path)
}

// follow plays the second task to its end and says where it ran.
func (c cell) follow(b *bed, path string) string {
	var places []string
	for range 20 {
		task := b.task(path)
		switch {
		case task.Status == fsm.Assigned:
			places = append(places, b.nameOf(string(task.Worker)))
			b.report("started", path, -1, "")
			switch {
			case c.retry && task.Attempt == 0:
				b.report("failed", path, -1, "boom")
			case c.timeout:
				b.sleep(6e9)
			default:
				b.report("completed", path, -1, "")
			}
		case task.Status.Final():
			return c.verdict(task, places)
		default:
			b.sleep(5e9)
		}
	}
	return "does not end"
}

func (c cell) verdict(task *fsm.TaskRun, places []string) string {
	want := fsm.Completed
	if c.timeout {
		want = fsm.Failed
	}
	switch {
	case len(places) == 0 && strings.Contains(task.Error, "PIN_AFFINITY_CONFLICT"):
		return "nowhere: waits, and fails at its schedule timeout with PIN_AFFINITY_CONFLICT and the label's name"
	case task.Status != want:
		return fmt.Sprintf("%s: %s", task.Status, task.Error)
	case c.sticky == 0 && c.label == "none":
		return "on any worker, the least loaded first; a retry may go to another"
	case len(slices.Compact(slices.Clone(places))) != 1:
		return fmt.Sprintf("moves: %v", places)
	}
	return "on `" + places[0] + "`"
}
