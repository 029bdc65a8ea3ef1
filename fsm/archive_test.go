package fsm_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// settings makes the command that sets what the tests below use.
func settings(s *limpetv1.Settings) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_PutSettings{PutSettings: &limpetv1.PutSettings{Settings: s}}}
}

// worked lets one worker finish a run of one task, with a line and a chunk.
func (b *bed) worked(run string, lines bool) {
	b.t.Helper()
	b.trigger(&limpetv1.RunSpec{RunId: b.id(run), Workflow: "w", Input: []byte(`{"in":1}`)})
	b.report("started", run, 0, "")
	if lines {
		id := string(b.task(run).ID)
		b.do(&limpetv1.Command{Kind: &limpetv1.Command_PutLogs{PutLogs: &limpetv1.PutLogs{
			TenantId: testTenant, Lines: []*limpetv1.LogLine{{TaskRunId: id, Message: "hello"}},
		}}}, &limpetv1.Command{Kind: &limpetv1.Command_PutChunks{PutChunks: &limpetv1.PutChunks{
			TenantId: testTenant, Chunks: []*limpetv1.Chunk{{TaskRunId: id, Message: []byte("piece"), Index: -1}},
		}}})
	}
	b.report("completed", run, 0, `{"out":1}`)
}

func (b *bed) oneWorker(slots int32) {
	b.t.Helper()
	b.workflow("w", limpetv1.Strategy_STRATEGY_HARD, []taskSpec{{name: "a"}})
	b.register("one", slots, nil, "w:a")
	b.attach("one", "node-1")
}

// forget applies empty entries until nothing more is forgotten, and gives what
// was.
func (b *bed) forget() []*fsm.Archived {
	b.t.Helper()
	var out []*fsm.Archived
	for {
		b.now = b.now.Add(time.Millisecond)
		gone := b.m.Apply(&fsm.Entry{Stamp: fsm.Stamp{Instant: b.now, Wall: int64(b.now)}}).Forgotten
		if len(gone) == 0 {
			return out
		}
		out = append(out, gone...)
	}
}

func TestAForgottenRunIsHandedOutWhole(t *testing.T) {
	b := newBed(t)
	b.oneWorker(10)
	b.worked("r1", true)
	before := b.m.View()
	b.now = b.now.Add(14 * time.Second)
	if gone := b.forget(); len(gone) != 0 {
		t.Fatalf("a run was forgotten within 15 s of its end: %v", gone)
	}
	b.do(settings(&limpetv1.Settings{RetentionAge: int64(2 * time.Minute)}))
	b.now = b.now.Add(2 * time.Minute)
	gone := b.forget()
	if len(gone) != 1 {
		t.Fatalf("%d runs were forgotten, want 1", len(gone))
	}
	if c := b.m.View().Counts(); c.Runs != 0 || c.TaskRuns != 0 || c.Pins != 0 {
		t.Fatalf("the state keeps %+v", c)
	}
	read, err := fsm.DecodeArchived(gone[0].Encode(nil))
	if err != nil {
		t.Fatal(err)
	}
	past := b.m.View().Past(read)
	for _, v := range []fsm.View{before, past} {
		id := fsm.RunID(b.id("r1"))
		r, ok := v.Run(id)
		if !ok || r.Status != fsm.Completed || string(r.Input) != `{"in":1}` {
			t.Fatalf("the run is %+v", r)
		}
		x, ok := v.TaskRun(r.Tasks[0])
		if !ok || string(x.Output) != `{"out":1}` || v.Task(x).Name != "a" {
			t.Fatalf("the task run is %+v", x)
		}
		if p, ok := v.Pin(id); !ok || string(p.Worker) != b.id("one") {
			t.Fatalf("the pin is %+v", p)
		}
		var said strings.Builder
		for l := range v.Logs(x.ID) {
			said.WriteString(l.Message)
		}
		for c := range v.Chunks(x.ID, 0, 0) {
			said.Write(c.Message)
		}
		if said.String() != "hellopiece" {
			t.Fatalf("the task run said %q", said.String())
		}
	}
	if !bytes.Equal(read.Encode(nil), gone[0].Encode(nil)) {
		t.Fatal("a record changes when it is read and written again")
	}
}

// TestMachinesForgetAlike plays one log on two machines, the second from a
// snapshot in the middle: both hand out the same runs.
func TestMachinesForgetAlike(t *testing.T) {
	b := newBed(t)
	b.oneWorker(10)
	b.do(settings(&limpetv1.Settings{RetentionAge: int64(time.Hour), RetentionRuns: 3}))
	half := 0
	for i := range 40 {
		b.worked(fmt.Sprint("r", i), i%2 == 0)
		b.now = b.now.Add(7 * time.Second)
		if i == 20 {
			half = len(b.entries)
		}
	}
	play := func(m *fsm.Machine, entries []*fsm.Entry) (out []byte) {
		for _, e := range entries {
			for _, a := range m.Apply(e).Forgotten {
				out = a.Encode(out)
			}
		}
		return out
	}
	whole := fsm.NewMachine()
	first := play(whole, b.entries[:half])
	var snap bytes.Buffer
	if err := whole.View().WriteSnapshot(&snap); err != nil {
		t.Fatal(err)
	}
	second := play(whole, b.entries[half:])
	restored, err := fsm.ReadSnapshot(&snap)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) == 0 || len(second) == 0 || !bytes.Equal(second, play(restored, b.entries[half:])) {
		t.Fatalf("%d and %d bytes of runs were forgotten; the machine from the snapshot differs", len(first), len(second))
	}
	if whole.View().Hash() != restored.View().Hash() {
		t.Fatal("the states differ")
	}
}

// TestFinishedRunsDoNotPileUp lets far more runs finish than are kept: the
// state holds those of the last minute and a few more, whatever has been.
func TestFinishedRunsDoNotPileUp(t *testing.T) {
	const perSecond, seconds, kept = 20, 400, 100
	b := newBed(t)
	b.unchecked = true
	b.oneWorker(perSecond)
	b.do(settings(&limpetv1.Settings{RetentionAge: int64(time.Hour), RetentionRuns: kept}))
	total, forgotten := 0, 0
	for range seconds {
		var trigger, done []fsm.Command
		for range perSecond {
			id := b.mint()
			total++
			trigger = append(trigger, &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
				TenantId: testTenant, Runs: []*limpetv1.RunSpec{{RunId: id, Workflow: "w"}},
			}}})
			done = append(done, reportCommand("completed", id, 0, ""))
		}
		b.do(trigger...)
		b.do(done...)
		b.entries = nil
		b.now = b.now.Add(time.Second)
		forgotten += len(b.m.Begin(fsm.Stamp{Instant: b.now, Wall: int64(b.now)}).Forgotten)
		if c := b.m.Peek().Counts(); c.Runs > 61*perSecond+kept || c.TaskRuns != c.Runs {
			t.Fatalf("after %d runs the state holds %+v", total, c)
		}
	}
	if kept := b.m.Peek().Counts().Runs; forgotten+kept > total || forgotten < total/2 {
		t.Fatalf("of %d runs %d were handed out and %d are kept", total, forgotten, kept)
	}
}

func TestALimitOfLiveRunsIsRefusedAndEnds(t *testing.T) {
	b := newBed(t)
	b.oneWorker(1)
	b.do(settings(&limpetv1.Settings{MaxLiveRuns: 3}))
	for i := range 3 {
		if res := b.trigger(&limpetv1.RunSpec{RunId: b.id(fmt.Sprint("r", i)), Workflow: "w"}); res.Refusal != nil {
			t.Fatal(res.Refusal)
		}
	}
	more := &limpetv1.RunSpec{RunId: b.id("more"), Workflow: "w"}
	res := b.trigger(more)
	if res.Refusal == nil || res.Refusal.Code != fsm.CodeExhausted {
		t.Fatalf("a run beyond the limit: %+v", res)
	}
	t.Log(res.Refusal)
	if again := b.trigger(&limpetv1.RunSpec{RunId: b.id("r0"), Workflow: "w"}); again.Refusal != nil || !again.Ignored {
		t.Fatalf("a repeated trigger is not new: %+v", again)
	}
	b.report("completed", "r0", 0, "")
	if res := b.trigger(more); res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
}

// TestAnEventBeyondTheLimitIsRefusedOnlyIfItStartsRuns: others may be what tasks
// wait for.
func TestAnEventBeyondTheLimitIsRefusedOnlyIfItStartsRuns(t *testing.T) {
	b := newBed(t)
	b.oneWorker(1)
	b.startsBy("e", "starts")
	b.do(settings(&limpetv1.Settings{MaxLiveRuns: 1}))
	b.trigger(&limpetv1.RunSpec{RunId: b.id("r0"), Workflow: "w"})
	push := func(key string) fsm.Result {
		return b.do(&limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{
			TenantId: testTenant, Events: []*limpetv1.Event{{Id: b.mint(), Key: key}},
		}}})
	}
	if res := push("other"); res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
	if res := push("starts"); res.Refusal == nil || res.Refusal.Code != fsm.CodeExhausted {
		t.Fatalf("an event that starts a run beyond the limit: %+v", res)
	}
	b.report("completed", "r0", 0, "")
	if res := push("starts"); res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
	if n := b.m.Peek().Counts().LiveRuns; n != 1 {
		t.Fatalf("the event started %d runs", n)
	}
}

// startsBy registers a workflow that an event starts.
func (b *bed) startsBy(name, key string) {
	b.t.Helper()
	raw := marshal(b.t, &limpetv1.WorkflowDefinition{
		Name: name, EventTriggers: []string{key},
		Tasks: []*limpetv1.TaskDefinition{{Name: "a", Action: name + ":a", Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}}}},
	})
	res := b.do(&limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
		TenantId: testTenant, WorkflowId: b.mint(), VersionId: b.mint(), Definition: raw,
	}}})
	if res.Refusal != nil {
		b.t.Fatal(res.Refusal)
	}
}

func TestADamagedRecordIsAnError(t *testing.T) {
	a := &fsm.Archived{Run: &fsm.Run{ID: "r"}, Tasks: []*fsm.TaskRun{{ID: "t", Output: []byte("0123456789")}}}
	b := a.Encode(nil)
	whole, cuts := len(b), 0
	for n := range whole {
		if _, err := fsm.DecodeArchived(b[:n]); err != nil {
			cuts++
		}
	}
	// One cut is between the run and its task run, and is none of the record's.
	if cuts != whole-1 {
		t.Fatalf("%d of %d cuts are errors", cuts, whole)
	}
}

func TestPayloadsHaveALimit(t *testing.T) {
	b := newBed(t)
	b.oneWorker(1)
	b.do(settings(&limpetv1.Settings{MaxLiveBytes: 1000, RetentionAge: 1}))
	spec := func(run string, size int) *limpetv1.RunSpec {
		return &limpetv1.RunSpec{RunId: b.id(run), Workflow: "w", Input: bytes.Repeat([]byte("1"), size)}
	}
	if res := b.trigger(spec("r0", 900)); res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
	if res := b.trigger(spec("r1", 101)); res.Refusal == nil || res.Refusal.Code != fsm.CodeExhausted {
		t.Fatalf("a payload beyond the limit: %+v", res)
	}
	if res := b.trigger(spec("r1", 100)); res.Refusal != nil {
		t.Fatal(res.Refusal)
	}
	b.report("completed", "r0", 0, `{}`)
	b.now = b.now.Add(2 * time.Minute)
	b.forget()
	if res := b.trigger(spec("r2", 800)); res.Refusal != nil {
		t.Fatalf("after a run with its payload was forgotten: %v", res.Refusal)
	}
}

// It said to try again in a minute, and meant the age of retention.
func TestFinishedRunsMakeRoomForPayloads(t *testing.T) {
	b := newBed(t)
	b.oneWorker(1)
	b.do(settings(&limpetv1.Settings{MaxLiveBytes: 1000, RetentionAge: int64(time.Hour)}))
	spec := func(run string) *limpetv1.RunSpec {
		return &limpetv1.RunSpec{RunId: b.id(run), Workflow: "w", Input: bytes.Repeat([]byte("1"), 900)}
	}
	b.trigger(spec("r0"))
	b.report("completed", "r0", 0, `{}`)
	b.now = b.now.Add(14 * time.Second)
	if res := b.trigger(spec("r1")); res.Refusal == nil || res.Refusal.Code != fsm.CodeExhausted {
		t.Fatalf("a payload beyond the limit: %+v", res)
	}
	b.now = b.now.Add(time.Second)
	if res := b.trigger(spec("r1")); res.Refusal != nil {
		t.Fatalf("a run that ended 15 s ago takes the room of a new one: %v", res.Refusal)
	}
}
