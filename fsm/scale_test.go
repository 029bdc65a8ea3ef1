//go:build linux

package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// BenchmarkScale is what many live runs of one task cost: memory above the
// payload, and what a snapshot takes. Run it with -benchtime 1x. On a machine that
// does other things as well, look at the CPU seconds and not at the others.
func BenchmarkScale(b *testing.B) {
	for _, runs := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("runs=%d", runs), func(b *testing.B) {
			for b.Loop() {
				benchScale(b, runs)
			}
		})
	}
}

const scalePayload = 1 << 10

func benchScale(b *testing.B, runs int) {
	b.Helper()
	before := heap()
	m := liveRuns(b, runs)
	b.ReportMetric(float64(heap()-before)/float64(runs)-scalePayload, "B/run")
	path := filepath.Join(b.TempDir(), "snapshot")
	began, cpu := time.Now(), cpuTime(b, syscall.RUSAGE_SELF)
	pause, writes := writeUnderLoad(b, m, path, runs)
	b.ReportMetric(time.Since(began).Seconds(), "write-s")
	b.ReportMetric((cpuTime(b, syscall.RUSAGE_SELF) - cpu).Seconds(), "write-cpu-s")
	b.ReportMetric(float64(pause.wall.Microseconds())/1000, "worst-pause-ms")
	b.ReportMetric(float64(pause.cpu.Microseconds())/1000, "worst-pause-cpu-ms")
	b.ReportMetric(float64(writes), "entries-meanwhile")
	runtime.GC() // of the machine too: nothing uses it any more
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	began, cpu = time.Now(), cpuTime(b, syscall.RUSAGE_SELF)
	read, err := fsm.ReadSnapshot(f)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "read-s")
	b.ReportMetric((cpuTime(b, syscall.RUSAGE_SELF) - cpu).Seconds(), "read-cpu-s")
	if got := read.Peek().Counts().LiveRuns; got != runs {
		b.Fatalf("%d runs came back of %d", got, runs)
	}
	b.ReportMetric(float64(heap()-before)/float64(runs)-scalePayload, "B/run-restored")
	runtime.KeepAlive(read)
}

// rusageThread is RUSAGE_THREAD of Linux.
const rusageThread = 1

func cpuTime(tb testing.TB, who int) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pause is how long an entry took, by the clock and by the work that it was.
type pause struct{ wall, cpu time.Duration }

// writeUnderLoad writes a snapshot while the machine goes on, and gives the
// longest time that an entry took meanwhile, its view included.
func writeUnderLoad(b *testing.B, m *fsm.Machine, path string, runs int) (worst pause, entries int) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	view := m.View()
	done := make(chan error, 1)
	go func() { done <- view.WriteSnapshot(f) }()
	for at := m.Stamp().Instant; ; entries++ {
		select {
		case err := <-done:
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
			return worst, entries
		default:
		}
		// Cancels touch runs all over the tables: each copies its nodes.
		at++
		began, cpu := time.Now(), cpuTime(b, rusageThread)
		m.Apply(&fsm.Entry{Stamp: fsm.Stamp{Instant: at}, Commands: []fsm.Command{scaleTrigger(runs+entries*4, 4), {
			Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{
				TenantId: testTenant, Ids: []string{scaleID(entries * 7919 % runs)},
			}},
		}}})
		m.View()
		worst.wall = max(worst.wall, time.Since(began))
		worst.cpu = max(worst.cpu, cpuTime(b, rusageThread)-cpu)
		time.Sleep(time.Millisecond)
	}
}

// liveRuns is a machine with so many queued runs.
func liveRuns(tb testing.TB, runs int) *fsm.Machine {
	tb.Helper()
	bed := newBed(tb)
	bed.unchecked = true
	bed.workflow("w", limpetv1.Strategy_STRATEGY_SOFT, []taskSpec{{name: "a", opts: map[string]string{"schedule": "1000h"}}})
	const batch = 500
	m, at := bed.m, bed.now
	for i := 0; i < runs; i += batch {
		at++
		// As from the log: each command has its own bytes.
		raw, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: at, Wall: int64(at)}, Commands: []fsm.Command{scaleTrigger(i, min(batch, runs-i))}}).Encode()
		if err != nil {
			tb.Fatal(err)
		}
		e, err := fsm.DecodeEntry(raw)
		if err != nil {
			tb.Fatal(err)
		}
		for _, r := range m.Apply(e).Results {
			if r.Refusal != nil {
				tb.Fatal(r.Refusal)
			}
		}
	}
	return m
}

func scaleTrigger(from, n int) fsm.Command {
	c := &limpetv1.TriggerRuns{TenantId: testTenant}
	for i := range n {
		input := bytes.Repeat([]byte("x"), scalePayload)
		input[0], input[scalePayload-1] = '"', '"'
		c.Runs = append(c.Runs, &limpetv1.RunSpec{RunId: scaleID(from + i), Workflow: "w", Input: input})
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: c}}
}

// scaleID is like the ids that nodes mint: in the order of time, random at its end.
func scaleID(n int) string {
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", n>>16, n&0xffff, uint64(n)*0x9e3779b97f4a7c15>>16)
}

func heap() int64 {
	debug.FreeOSMemory()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestASnapshotOfManyRunsIsReadBack is the small form of the benchmark.
func TestASnapshotOfManyRunsIsReadBack(t *testing.T) {
	const runs = 3000
	m := liveRuns(t, runs)
	var buf bytes.Buffer
	if err := m.View().WriteSnapshot(&buf); err != nil {
		t.Fatal(err)
	}
	read, err := fsm.ReadSnapshot(io.MultiReader(bytes.NewReader(buf.Bytes()[:buf.Len()/3]), bytes.NewReader(buf.Bytes()[buf.Len()/3:])))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := m.View().Hash(), read.View().Hash(); a != b || read.Peek().Counts() != m.Peek().Counts() {
		t.Fatalf("hash %x and %+v, written from %x and %+v", b, read.Peek().Counts(), a, m.Peek().Counts())
	}
}
