package fsm_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// Each file in testdata/promise is one sentence of the sticky assignment page,
// played on the bare machine: lines of commands, and `?` lines that ask for
// what is true and compare it with the answer on the line.
//
//	workflow NAME SOFT|HARD|NONE TASK[<PARENT,PARENT][:opt=value;opt=value] ...
//	worker NAME SLOTS [label=value] WORKFLOW ...   register and attach
//	trigger RUN WORKFLOW [parent=RUN.TASK] [desired=WORKER] [key=K] [label=k:v]
//	start|complete|fail RUN.TASK [ATTEMPT] [output=JSON]
//	detach|attach|lose|pause|resume|drain|leave WORKER
//	cancel RUN | replay RUN[.TASK] | release RUN | sleep 5s
//	cancel-children on|off | push KEY [JSON] | refresh RUN.TASK 5s | release-slot RUN.TASK
//	register NAME SLOTS ...   without attaching; identity=I incarnation=P generation=G
//	exit WORKER | leave WORKER INCARNATION | own-drain WORKER INCARNATION | drain WORKER 10s | move RUN WORKER | on-lost WORKFLOW wait|fail|repin
//	? worker W | ? drain W | ? audit
//	? RUN.TASK | ? RUN | ? pin RUN | ? refusal | ? fenced | ? why RUN.TASK | ? error RUN.TASK

var rewrite = flag.Bool("rewrite", false, "write the answers seen into the scenario files; commit only what you can explain")

func TestPromises(t *testing.T) {
	files, err := filepath.Glob("testdata/promise/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { playFile(t, f) })
	}
}

func playFile(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{bed: newBed(t)}
	var out []string
	asked := 0
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		cmd, want, isQuery := strings.Cut(line, " => ")
		if strings.HasPrefix(line, "?") {
			asked++
			got := p.ask(strings.Fields(cmd)[1:])
			if *rewrite {
				line = cmd + " => " + got
			} else if !isQuery || !matches(got, want) {
				t.Errorf("%s:%d: %s\n  got  %s\n  want %s", file, i+1, cmd, got, want)
			}
		} else if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
			p.play(f[0], f[1:])
		}
		out = append(out, line)
	}
	if asked == 0 {
		t.Errorf("%s asks nothing", file)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replay(t, p.bed)
}

// matches allows `...` in the wanted answer for any text.
func matches(got, want string) bool {
	parts := strings.Split(want, "...")
	if !strings.HasPrefix(got, parts[0]) {
		return false
	}
	got = got[len(parts[0]):]
	for _, p := range parts[1:] {
		i := strings.Index(got, p)
		if i < 0 {
			return false
		}
		got = got[i+len(p):]
	}
	return len(parts) > 1 || got == ""
}

// player carries out the verbs of scenario files.
type player struct {
	*bed
	flows map[string][]string // workflow -> actions
}

func (p *player) play(verb string, args []string) {
	p.t.Helper()
	switch verb {
	case "workflow":
		p.playWorkflow(args)
	case "worker":
		p.playWorker(args, true)
	case "register":
		p.playWorker(args, false)
	case "trigger":
		p.playTrigger(args)
	case "start", "complete", "fail":
		name := map[string]string{"start": "started", "complete": "completed", "fail": "failed"}[verb]
		attempt, text := int32(-1), ""
		if verb == "fail" {
			text = "boom"
		}
		for _, a := range args[1:] {
			if out, ok := strings.CutPrefix(a, "output="); ok {
				text = out
			} else {
				attempt = int32(atoi(p.t, a))
			}
		}
		p.report(name, args[0], attempt, text)
	case "detach":
		p.detach(args[0])
	case "attach":
		p.attach(args[0], "node-1")
	case "lose":
		p.lose(args[0])
	case "pause":
		p.mode(args[0], limpetv1.WorkerMode_WORKER_MODE_PAUSED)
	case "resume":
		p.mode(args[0], limpetv1.WorkerMode_WORKER_MODE_ACTIVE)
	case "drain":
		by := ""
		if len(args) > 1 {
			by = args[1]
		}
		p.drain(args[0], by)
	case "exit":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_ReportExit{ReportExit: &limpetv1.ReportExit{
			TenantId: testTenant, WorkerId: p.id(args[0]), Incarnation: p.incarnation[args[0]], Reason: "killed",
		}}})
	case "move":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_MovePin{MovePin: &limpetv1.MovePin{
			TenantId: testTenant, RunId: p.id(args[0]), WorkerId: p.id(args[1]), Reason: "maintenance", Actor: "ops",
		}}})
	case "on-lost":
		o, _ := fsm.ParseOnLost(args[1])
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkflow{SetWorkflow: &limpetv1.SetWorkflow{
			TenantId: testTenant, Workflow: args[0], OnLost: limpetv1.OnLost(o), Actor: "ops",
		}}})
	case "leave":
		c := &limpetv1.RemoveWorker{TenantId: testTenant, WorkerId: p.id(args[0])}
		if len(args) > 1 {
			c.Incarnation = args[1]
		}
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_RemoveWorker{RemoveWorker: c}})
	case "own-drain":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
			TenantId: testTenant, WorkerId: p.id(args[0]), Mode: limpetv1.WorkerMode_WORKER_MODE_DRAINING, Deadline: int64(30 * time.Second),
			ByWorker: true, Incarnation: args[1],
		}}})
	case "cancel":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{TenantId: testTenant, Ids: []string{p.id(args[0])}}}})
	case "release":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{ReleasePin: &limpetv1.ReleasePin{TenantId: testTenant, RunId: p.id(args[0]), Reason: "test"}}})
	case "cancel-children":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{Settings: &limpetv1.Settings{CancelChildren: args[0] == "on"}}}})
	case "replay":
		id := p.id(args[0])
		if strings.Contains(args[0], ".") {
			id = string(p.task(args[0]).ID)
		}
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{TenantId: testTenant, Ids: []string{id}}}})
	case "push":
		e := &limpetv1.Event{Id: p.mint(), Key: args[0], Payload: []byte(strings.Join(append(args[1:], ""), ""))}
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{TenantId: testTenant, Events: []*limpetv1.Event{e}}}})
	case "refresh":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_RefreshTimeout{RefreshTimeout: &limpetv1.RefreshTimeout{
			TenantId: testTenant, TaskRunId: string(p.task(args[0]).ID), By: int64(dur(p.t, args[1])),
		}}})
	case "release-slot":
		p.do(&limpetv1.Command{Kind: &limpetv1.Command_ReleaseSlot{ReleaseSlot: &limpetv1.ReleaseSlot{
			TenantId: testTenant, TaskRunId: string(p.task(args[0]).ID),
		}}})
	case "sleep":
		p.sleep(dur(p.t, args[0]))
	default:
		p.t.Fatalf("unknown verb %q", verb)
	}
}

func (p *player) playWorkflow(args []string) {
	var tasks []taskSpec
	for _, a := range args[2:] {
		spec, opts, _ := strings.Cut(a, ":")
		name, parents, hasParents := strings.Cut(spec, "<")
		t := taskSpec{name: name, opts: map[string]string{}}
		if hasParents {
			t.parents = strings.Split(parents, ",")
		}
		for o := range strings.SplitSeq(opts, ";") {
			k, v, _ := strings.Cut(o, "=")
			t.opts[k] = v
			if v == "" {
				t.opts[k] = "yes"
			}
		}
		tasks = append(tasks, t)
		if p.flows == nil {
			p.flows = map[string][]string{}
		}
		p.flows[args[0]] = append(p.flows[args[0]], args[0]+":"+name)
	}
	p.workflow(args[0], limpetv1.Strategy(limpetv1.Strategy_value["STRATEGY_"+args[1]]), tasks)
}

func (p *player) playWorker(args []string, attach bool) {
	var actions []string
	var labels []*limpetv1.Label
	reg := &limpetv1.RegisterWorker{WorkerId: p.mint(), Name: args[0]}
	for _, a := range args[2:] {
		k, v, ok := strings.Cut(a, "=")
		switch k {
		case "identity":
			reg.Identity = v
			continue
		case "generation":
			reg.Generation = v
			continue
		case "incarnation":
			reg.Incarnation = v
			continue
		}
		if ok {
			labels = append(labels, &limpetv1.Label{Key: k, Text: v})
			continue
		}
		actions = append(actions, p.flows[a]...)
	}
	slices.Sort(actions)
	reg.Labels, reg.Actions = labels, actions
	reg.Slots = []*limpetv1.SlotRequest{{Type: "default", Units: int32(atoi(p.t, args[1]))}}
	if p.enroll(reg).Refusal == nil && attach {
		p.attach(args[0], "node-1")
	}
}

func (p *player) playTrigger(args []string) {
	spec := &limpetv1.RunSpec{RunId: p.mint(), Workflow: args[1], Input: []byte(`{}`)}
	for _, a := range args[2:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "parent":
			t := p.task(v)
			spec.ParentRunId, spec.ParentTaskRunId = string(t.Run), string(t.ID)
		case "desired":
			spec.DesiredWorker = p.id(v)
		case "key":
			spec.ChildKey = v
		case "on-lost":
			o, _ := fsm.ParseOnLost(v)
			spec.OnLost = limpetv1.OnLost(o)
		case "priority":
			spec.Priority = int32(atoi(p.t, v))
		case "label":
			lk, lv, _ := strings.Cut(v, ":")
			spec.Labels = []*limpetv1.LabelWish{{Label: &limpetv1.Label{Key: lk, Text: lv}, Required: true, Weight: 100}}
		}
	}
	if res := p.trigger(spec); res.Refusal == nil {
		p.names[args[0]] = res.IDs[0]
	}
}

func (p *player) ask(args []string) string {
	v := p.m.Peek()
	switch args[0] {
	case "refusal":
		if p.last.Refusal == nil {
			return "none"
		}
		return p.rename(fmt.Sprintf("%s %s", p.last.Refusal.Code, p.last.Refusal))
	case "fenced":
		return fmt.Sprint(p.fenced)
	case "pin":
		pin, ok := v.Pin(fsm.RunID(p.id(args[1])))
		if !ok {
			return "none"
		}
		return fmt.Sprintf("%s %s (%s) moves=%d overflows=%d", pin.Strategy, p.nameOf(string(pin.Worker)), pin.Cause, pin.Moves, pin.Overflows)
	case "why":
		code, text := v.WaitReason(p.task(args[1]))
		return p.rename(code + ": " + text)
	case "error":
		return p.rename(p.task(args[1]).Error)
	case "worker":
		w := p.worker(args[1])
		s := fmt.Sprintf("%s epoch=%d %s", w.Lease.State, w.Lease.Epoch, w.Mode)
		if w.Drained {
			s += " drained"
		}
		if w.QuietUntil != 0 {
			s += " quiet"
		}
		return s
	case "drain":
		d := v.Drain(p.worker(args[1]), 10)
		var s strings.Builder
		fmt.Fprintf(&s, "drained=%t deadline=%s eta=%s", d.Drained, d.Deadline, d.ETA)
		for _, b := range d.Blockers {
			s.WriteString(" run:" + p.nameOf(string(b.Run.ID)))
			if b.Task != nil {
				s.WriteString("." + v.Task(b.Task).Name)
			}
		}
		return s.String()
	case "audit":
		var s []string
		for _, a := range v.Audits(testTenant, 0) {
			s = append(s, fmt.Sprintf("%s %s %s %s->%s %s", a.Actor, a.Action, a.Target, a.From, a.To, a.Reason))
		}
		return p.rename(strings.Join(s, "; "))
	case "same":
		return fmt.Sprint(p.names[args[1]] == p.names[args[2]])
	}
	if strings.Contains(args[0], ".") {
		t := p.task(args[0])
		s := fmt.Sprintf("%s attempt=%d", t.Status, t.Attempt)
		if t.Status.Held() || t.Status == fsm.Completed {
			s += " on " + p.nameOf(string(t.Worker)) + " " + t.Reason
		}
		return s
	}
	r, ok := v.Run(fsm.RunID(p.id(args[0])))
	if !ok {
		return "none"
	}
	return r.Status.String()
}

// rename puts scenario names where ids stand.
func (p *player) rename(s string) string {
	var names []string
	for n := range p.names {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		s = strings.ReplaceAll(s, p.names[n], n)
	}
	return s
}
