package fsm_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

var dagCases = flag.Int("dag-cases", 1500, "number of random DAGs that are played against the naive model")

// TestDAGsAgreeWithTheRules plays random workflows, with conditions, retries,
// failures, cancels and replays, on the machine and on a model that knows the
// rules in their plainest form and applies them until nothing changes.
func TestDAGsAgreeWithTheRules(t *testing.T) {
	for seed := range uint64(*dagCases) {
		d := newDAG(t, seed)
		for range 4 + d.rand.IntN(30) {
			d.step()
		}
		d.windUp()
		if seed%50 == 0 {
			replay(t, d.bed)
		}
	}
}

// ruleTask is a task run as the model sees it.
type ruleTask struct {
	name      string
	parents   []int
	conds     []ruleCond
	retries   int
	onFailure bool

	state    string // blocked, active, completed, failed, cancelled, skipped
	failures int
	armed    bool
	output   int
}

type ruleCond struct {
	kind, action string
	group        int
	parent       int           // of kind parent: output.n > limit
	limit        int           // also of kind event: input.n > limit; negative for no expression
	sleep        time.Duration // of kind sleep
	event        string

	state string // "", met, never
	due   fsm.Instant
}

type dag struct {
	*bed
	seed  uint64
	rand  *rand.Rand
	tasks []*ruleTask
	run   string
	story []string
}

func newDAG(t *testing.T, seed uint64) *dag {
	t.Helper()
	d := &dag{bed: newBed(t), seed: seed, rand: rand.New(rand.NewPCG(seed, 7))}
	d.unchecked = seed%10 != 0
	n := 1 + d.rand.IntN(12)
	var specs []taskSpec
	var actions []string
	for i := range n {
		x := &ruleTask{name: fmt.Sprintf("t%02d", i), state: "blocked", retries: d.rand.IntN(3)}
		s := taskSpec{name: x.name, opts: map[string]string{"retries": fmt.Sprint(x.retries), "schedule": "9000h", "timeout": "9000h"}}
		for p := range i {
			if d.rand.IntN(i) < 2 {
				x.parents = append(x.parents, p)
				s.parents = append(s.parents, d.tasks[p].name)
			}
		}
		if d.rand.IntN(3) == 0 {
			for _, action := range []string{"wait", "skip", "cancel"} {
				s.opts[action] = d.conditions(x, action)
			}
		}
		d.tasks, specs, actions = append(d.tasks, x), append(specs, s), append(actions, "w:"+x.name)
	}
	if d.rand.IntN(3) == 0 {
		d.tasks = append(d.tasks, &ruleTask{name: "onfail", onFailure: true, state: "blocked"})
		specs = append(specs, taskSpec{name: "onfail", opts: map[string]string{"onfailure": "yes", "timeout": "9000h", "schedule": "9000h"}})
		actions = append(actions, "w:onfail")
	}
	if res := d.workflow("w", limpetv1.Strategy(d.rand.IntN(3)), specs); res.Refusal != nil {
		t.Fatalf("seed %d: %v", seed, res.Refusal)
	}
	d.register("worker", 100, nil, actions...)
	d.attach("worker", "node-1")
	d.names["r"] = d.trigger(&limpetv1.RunSpec{RunId: d.mint(), Workflow: "w", Input: []byte(`{}`)}).IDs[0]
	d.run = d.names["r"]
	d.say("%v", specs)
	d.settle()
	d.compare()
	return d
}

// conditions draws up to two groups of up to two alternatives.
func (d *dag) conditions(x *ruleTask, action string) string {
	var groups []string
	for g := range d.rand.IntN(3) {
		var alts []string
		for range 1 + d.rand.IntN(2) {
			c := ruleCond{action: action, group: g, limit: d.rand.IntN(10)}
			switch d.rand.IntN(3) {
			case 0:
				if len(x.parents) == 0 {
					continue
				}
				c.kind, c.parent = "parent", x.parents[d.rand.IntN(len(x.parents))]
				// A skipped parent has no n: the expression has to say what then.
				alts = append(alts, fmt.Sprintf("parent/%s/has(output.n) ? output.n > %d : false", d.tasks[c.parent].name, c.limit))
			case 1:
				c.kind, c.sleep = "sleep", time.Duration(1+d.rand.IntN(20))*time.Second
				alts = append(alts, "sleep/"+c.sleep.String())
			default:
				c.kind, c.event = "event", fmt.Sprintf("e%d", d.rand.IntN(2))
				alt := "event/" + c.event
				if d.rand.IntN(2) == 0 {
					alt += fmt.Sprintf("/input.n > %d", c.limit)
				} else {
					c.limit = -1
				}
				alts = append(alts, alt)
			}
			x.conds = append(x.conds, c)
		}
		if len(alts) > 0 {
			groups = append(groups, strings.Join(alts, "|"))
		}
	}
	return strings.Join(groups, "&")
}

func (d *dag) say(format string, args ...any) {
	d.story = append(d.story, fmt.Sprintf("%v: ", time.Duration(d.now))+fmt.Sprintf(format, args...))
}

// step does one random thing to both, and compares.
func (d *dag) step() {
	active := d.active()
	switch verb := d.rand.IntN(20); {
	case verb < 10 && len(active) > 0:
		d.finishOne(active[d.rand.IntN(len(active))], d.rand.IntN(4) == 0)
	case verb < 13:
		d.push(fmt.Sprintf("e%d", d.rand.IntN(2)), d.rand.IntN(10))
	case verb < 17:
		d.pass(time.Duration(1+d.rand.IntN(15)) * time.Second)
	case verb == 17:
		i := d.rand.IntN(len(d.tasks))
		d.say("cancel %s", d.tasks[i].name)
		d.do(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{
			TenantId: testTenant, Ids: []string{string(d.task("r." + d.tasks[i].name).ID)},
		}}})
		d.stop(i)
		d.settle()
	case verb == 18 && d.rand.IntN(3) == 0:
		d.say("cancel the run")
		d.do(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{TenantId: testTenant, Ids: []string{d.run}}}})
		// The on-failure task is the last one: it is skipped if nothing failed.
		for i, x := range d.tasks {
			if !x.onFailure {
				d.stop(i)
			}
		}
		d.settle()
		for i := range d.tasks {
			d.stop(i)
		}
	case verb == 19 && d.rand.IntN(2) == 0:
		d.replayFrom(d.rand.IntN(len(d.tasks)))
	}
	d.compare()
}

func (d *dag) stop(i int) {
	if x := d.tasks[i]; x.state == "blocked" || x.state == "active" {
		x.state = "cancelled"
	}
}

func (d *dag) replayFrom(i int) {
	d.say("replay %s", d.tasks[i].name)
	d.do(&limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{
		TenantId: testTenant, Ids: []string{string(d.task("r." + d.tasks[i].name).ID)},
	}}})
	again := map[int]bool{i: true}
	for j, x := range d.tasks {
		if x.onFailure || slices.ContainsFunc(x.parents, func(p int) bool { return again[p] }) {
			again[j] = true
		}
	}
	for j := range again {
		x := d.tasks[j]
		x.state, x.failures, x.armed = "blocked", 0, false
		for k := range x.conds {
			x.conds[k].state, x.conds[k].due = "", 0
		}
	}
	d.settle()
}

func (d *dag) active() []int {
	var out []int
	for i, x := range d.tasks {
		if x.state == "active" {
			out = append(out, i)
		}
	}
	return out
}

func (d *dag) finishOne(i int, fail bool) {
	x := d.tasks[i]
	x.output = d.rand.IntN(12)
	verb, text := "completed", fmt.Sprintf(`{"n":%d}`, x.output)
	if fail {
		verb, text = "failed", "boom"
	}
	d.say("%s %s %s", verb, x.name, text)
	d.report(verb, "r."+x.name, -1, text)
	switch {
	case !fail:
		x.state = "completed"
	case x.failures < x.retries:
		x.failures++
	default:
		x.state = "failed"
	}
	d.settle()
}

func (d *dag) push(key string, n int) {
	d.say("push %s %d", key, n)
	d.do(&limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{
		TenantId: testTenant, Events: []*limpetv1.Event{{Id: d.mint(), Key: key, Payload: fmt.Appendf(nil, `{"n":%d}`, n)}},
	}}})
	for _, x := range d.tasks {
		for k := range x.conds {
			if c := &x.conds[k]; x.armed && x.state == "blocked" && c.kind == "event" && c.event == key && n > c.limit {
				c.state = "met"
			}
		}
	}
	d.settle()
}

// pass lets time go by, from one end of a sleep to the next.
func (d *dag) pass(by time.Duration) {
	d.say("sleep %s", by)
	began := d.now
	end := d.now.Add(by)
	d.sleep(by)
	d.now = began
	for {
		next := fsm.Instant(0)
		for _, x := range d.tasks {
			for k := range x.conds {
				if c := &x.conds[k]; x.armed && x.state == "blocked" && c.kind == "sleep" && c.state == "" && c.due <= end && (next == 0 || c.due < next) {
					next = c.due
				}
			}
		}
		if next == 0 {
			break
		}
		d.now = next
		for _, x := range d.tasks {
			for k := range x.conds {
				if c := &x.conds[k]; x.armed && x.state == "blocked" && c.kind == "sleep" && c.due <= next {
					c.state = "met"
				}
			}
		}
		d.settle()
	}
	d.now = end
}

// settle applies the rules until nothing changes.
func (d *dag) settle() {
	for changed := true; changed; {
		changed = false
		for _, x := range d.tasks {
			if x.state != "blocked" {
				continue
			}
			if next := d.rule(x); next != "blocked" {
				x.state, changed = next, true
			}
		}
	}
	// Every worker says at once that it has started.
	for _, x := range d.tasks {
		if t := d.task("r." + x.name); t.Status == fsm.Assigned {
			d.report("started", "r."+x.name, -1, "")
		}
	}
}

func (d *dag) rule(x *ruleTask) string {
	if x.onFailure {
		return d.onFailureRule()
	}
	skipped := 0
	for _, p := range x.parents {
		switch d.tasks[p].state {
		case "blocked", "active":
			return "blocked"
		case "skipped":
			skipped++
		}
	}
	for _, p := range x.parents {
		if s := d.tasks[p].state; s == "failed" || s == "cancelled" {
			return "cancelled"
		}
	}
	if skipped > 0 && skipped == len(x.parents) {
		return "skipped"
	}
	if !x.armed {
		x.armed = true
		for k := range x.conds {
			c := &x.conds[k]
			if c.kind == "sleep" {
				c.due = d.now.Add(c.sleep)
			}
			if c.kind == "parent" {
				c.state = "never"
				if p := d.tasks[c.parent]; p.state == "completed" && p.output > c.limit {
					c.state = "met"
				}
			}
		}
	}
	for _, a := range []struct{ action, state string }{{"skip", "skipped"}, {"cancel", "cancelled"}} {
		if met, _, some := x.groups(a.action); some && met {
			return a.state
		}
	}
	met, never, _ := x.groups("wait")
	switch {
	case met:
		return "active"
	case never:
		return "cancelled"
	}
	return "blocked"
}

// groups says whether all groups of the action hold, whether one never will,
// and whether there are any.
func (x *ruleTask) groups(action string) (met, never, some bool) {
	met = true
	for g := range 3 {
		holds, open, members := false, false, 0
		for _, c := range x.conds {
			if c.action == action && c.group == g {
				members++
				holds = holds || c.state == "met"
				open = open || c.state == ""
			}
		}
		if members == 0 {
			continue
		}
		some = true
		met = met && holds
		never = never || !holds && !open
	}
	return met, never, some
}

func (d *dag) onFailureRule() string {
	failed := false
	for _, x := range d.tasks {
		if x.onFailure {
			continue
		}
		if x.state == "blocked" || x.state == "active" {
			return "blocked"
		}
		failed = failed || x.state == "failed"
	}
	if failed {
		return "active"
	}
	return "skipped"
}

// compare looks at every task run, and at the run.
func (d *dag) compare() {
	open, failed, cancelled := 0, false, false
	for _, x := range d.tasks {
		t := d.task("r." + x.name)
		got := strings.ToLower(t.Status.String())
		if t.Status == fsm.Running {
			got = "active"
		}
		if got != x.state {
			d.t.Fatalf("seed %d: task %s is %s, by the rules %s\n%s", d.seed, x.name, got, x.state, strings.Join(d.story, "\n"))
		}
		switch x.state {
		case "blocked", "active":
			open++
		case "failed":
			failed = true
		case "cancelled":
			cancelled = true
		}
	}
	want := map[bool]fsm.Status{true: fsm.Completed}[open == 0]
	switch {
	case open > 0:
		want = 0
	case failed:
		want = fsm.Failed
	case cancelled:
		want = fsm.Cancelled
	}
	r, _ := d.m.Peek().Run(fsm.RunID(d.run))
	if r.Status.Final() != (open == 0) || open == 0 && r.Status != want {
		d.t.Fatalf("seed %d: the run is %s, by the rules %s with %d open\n%s", d.seed, r.Status, want, open, strings.Join(d.story, "\n"))
	}
}

// windUp ends what still runs or waits: every run must come to an end.
func (d *dag) windUp() {
	for range 100 {
		for _, i := range d.active() {
			d.finishOne(i, false)
			d.compare()
		}
		d.push("e0", 11)
		d.push("e1", 11)
		d.pass(30 * time.Second)
		d.compare()
		if r, _ := d.m.Peek().Run(fsm.RunID(d.run)); r.Status.Final() {
			return
		}
	}
	d.t.Fatalf("seed %d: the run does not end\n%s", d.seed, strings.Join(d.story, "\n"))
}
