package history_test

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/history"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	tenant    = "11111111-1111-4111-8111-111111111111"
	perSecond = 1000
	keptRuns  = 5000
)

// busy is a machine in which runs start and end, a thousand a second of its own
// time, beside some that stay; what it forgets goes to a store.
type busy struct {
	tb    testing.TB
	m     *fsm.Machine
	store *history.Store
	now   fsm.Instant
	total int
	gone  int
}

func newBusy(tb testing.TB, cfg history.Config) *busy {
	tb.Helper()
	store, err := history.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	b := &busy{tb: tb, m: fsm.NewMachine(), store: store}
	definition, err := proto.Marshal(&limpetv1.WorkflowDefinition{
		Name: "w", Tasks: []*limpetv1.TaskDefinition{{Name: "a", Action: "w:a", ScheduleTimeout: int64(1000 * time.Hour)}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	b.apply(
		&limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
			TenantId: tenant, ClusterId: "c", KeyId: "k", Key: []byte{1},
			Settings: &limpetv1.Settings{RetentionAge: int64(10 * time.Minute), RetentionRuns: keptRuns},
		}}},
		&limpetv1.Command{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
			TenantId: tenant, WorkflowId: tenant, VersionId: tenant, Definition: definition,
		}}},
	)
	b.runs(2000, false)
	return b
}

// apply goes the way of an entry: through its bytes, and what is forgotten to the
// store.
func (b *busy) apply(cmds ...fsm.Command) {
	b.tb.Helper()
	raw, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: b.now, Wall: time.Now().UnixNano()}, Commands: cmds}).Encode()
	if err != nil {
		b.tb.Fatal(err)
	}
	e, err := fsm.DecodeEntry(raw)
	if err != nil {
		b.tb.Fatal(err)
	}
	out := b.m.Apply(e)
	for _, r := range out.Results {
		if r.Refusal != nil {
			b.tb.Fatal(r.Refusal)
		}
	}
	b.store.Add(out.Forgotten)
	b.gone += len(out.Forgotten)
}

// runs starts runs and, if they are to end, ends them in the next entry.
func (b *busy) runs(n int, end bool) {
	b.tb.Helper()
	const batch = 100
	input := append(bytes.Repeat([]byte(" "), 250), "{}"...)
	for ; n > 0; n -= batch {
		start, stop := &limpetv1.TriggerRuns{TenantId: tenant}, &limpetv1.CancelTasks{TenantId: tenant}
		for range batch {
			b.total++
			id := fmt.Sprintf("%08x-%04x-7000-8000-%012x", b.total>>16, b.total&0xffff, b.total)
			start.Runs = append(start.Runs, &limpetv1.RunSpec{RunId: id, Workflow: "w", Input: input})
			stop.Ids = append(stop.Ids, id)
		}
		b.now = b.now.Add(batch * time.Second / perSecond)
		b.apply(&limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: start}})
		if end {
			b.apply(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: stop}})
		}
	}
}

// TestADayOfRunsDoesNotGrowTheState is a small part of a day: what is in the
// state and in memory before the disk stays below what a minute makes.
func TestADayOfRunsDoesNotGrowTheState(t *testing.T) {
	b := newBusy(t, history.Config{Dir: t.TempDir(), MaxAge: day, MaxBytes: big})
	const most = 61*perSecond + keptRuns
	for range 9 {
		b.runs(20*perSecond, true)
		if c := b.m.Peek().Counts(); c.Runs-c.LiveRuns > most || c.LiveRuns != 2000 || c.TaskRuns != c.Runs {
			t.Fatalf("after %d runs the state holds %+v", b.total, c)
		}
		if n := b.store.Stats().Waiting; n > most {
			t.Fatalf("after %d runs %d wait for the disk", b.total, n)
		}
	}
	flush(t, b.store)
	kept := 0
	err := b.store.Newest(func(*fsm.Archived) bool {
		kept++
		return true
	})
	if err != nil || kept != b.gone || b.gone+b.m.Peek().Counts().Runs != b.total {
		t.Fatalf("of %d runs %d left the state and %d are in the history: %v", b.total, b.gone, kept, err)
	}
}

// BenchmarkADayOfRuns sends two million runs through machine and history and
// reports the heap after a tenth, in the middle and at the end. Run it with
// -benchtime 1x.
func BenchmarkADayOfRuns(b *testing.B) {
	const total, tenths = 2_000_000, 10
	for b.Loop() {
		r := newBusy(b, history.Config{Dir: b.TempDir(), MaxAge: day, MaxBytes: 256 << 20})
		began := time.Now()
		for i := range tenths {
			r.runs(total/tenths, true)
			if name := map[int]string{0: "start", tenths / 2: "middle", tenths - 1: "end"}[i]; name != "" {
				b.ReportMetric(float64(heap())/(1<<20), "heap-MiB-"+name)
			}
		}
		b.ReportMetric(total/time.Since(began).Seconds(), "runs/s")
		st := r.store.Stats()
		b.ReportMetric(float64(st.Bytes)/(1<<20), "disk-MiB")
		if st.Dropped > 0 {
			b.Fatalf("%d runs were not written", st.Dropped)
		}
		if err := r.store.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	debug.FreeOSMemory()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
