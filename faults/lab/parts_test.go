package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

func TestWhatTheFilesSayOfClockAndDiskIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "control")
		say := func(text string) {
			if err := write(file, text); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookEvery)
		}
		clock, disk := Clock(file), Disk(file)
		if off := time.Until(clock()); off != 0 {
			t.Errorf("without a file the clock is off by %v", off)
		}
		for _, text := range []string{"1h0m0s", "-1h0m0s"} {
			say(text)
			if off := time.Until(clock()); off.String() != text {
				t.Errorf("told %s, the clock is off by %v", text, off)
			}
		}
		say("")
		if err := disk(); err != nil {
			t.Errorf("a good disk: %v", err)
		}
		say(diskError)
		if err := disk(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a failing disk: %v", err)
		}
		say(diskFlaky)
		if a, b := disk(), disk(); (a == nil) == (b == nil) {
			t.Errorf("a flaky disk: %v, %v", a, b)
		}
		say(diskSlow + "3s")
		began := time.Now()
		if err := disk(); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("a slow disk: %v after %v", err, time.Since(began))
		}
		say(diskStall)
		time.AfterFunc(time.Minute, func() { _ = write(file, "") })
		began = time.Now()
		if err := disk(); err != nil || time.Since(began) < time.Minute {
			t.Errorf("a disk that stalls: %v after %v", err, time.Since(began))
		}
	})
}

func TestWires(t *testing.T) {
	w := newWires(1)
	passes := func(from, to string) bool {
		pass, _ := w.fate(from, to)
		return pass
	}
	mend := w.sever([]string{"a", "b"}, []string{"c", "a"}, false)
	again := w.sever([]string{"a"}, []string{"c"}, true)
	for _, c := range []struct {
		from, to string
		want     bool
	}{{"a", "c", false}, {"c", "a", false}, {"b", "c", false}, {"b", "d", true}, {"a", "b", false}} {
		if passes(c.from, c.to) != c.want {
			t.Errorf("%s to %s passes: %v", c.from, c.to, !c.want)
		}
	}
	mend()
	if passes("a", "c") || !passes("c", "a") || !passes("b", "c") {
		t.Error("what two faults cut is mended by one")
	}
	again()
	if !passes("a", "c") {
		t.Error("it stays cut")
	}
	well := w.spoil([]string{"a"}, 0.5, time.Second)
	lost := 0
	for range 1000 {
		if !passes("a", "b") {
			lost++
		}
	}
	if _, delay := w.fate("b", "a"); lost < 400 || lost > 600 || delay != time.Second {
		t.Errorf("lost %d of 1000, delay %v", lost, delay)
	}
	well()
	if pass, delay := w.fate("a", "b"); !pass || delay != 0 {
		t.Error("it stays spoilt")
	}
}

// journalOf writes a journal of commands, an entry each.
func journalOf(t *testing.T, dir, node string, entries []*fsm.Entry) {
	t.Helper()
	add, err := Journal(dir, node)
	if err != nil {
		t.Fatal(err)
	}
	state := fsm.NewMachine().View()
	for i, e := range entries {
		add(uint64(i)+1, 1, e, state)
	}
}

func registration(at fsm.Instant, id string) *fsm.Entry {
	const tenant = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
	cmds := []fsm.Command{{RequestId: []byte(id), Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
		TenantId: tenant, WorkerId: id, Name: "w", Actions: []string{"a:b"}, Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 1}},
	}}}}
	if at == 1 {
		cmds = append([]fsm.Command{{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
			TenantId: tenant, TenantName: "t", ClusterId: "c", KeyId: "k", Key: []byte("k"),
		}}}}, cmds...)
	}
	return &fsm.Entry{Stamp: fsm.Stamp{Instant: at}, Commands: cmds}
}

func TestJournalsOfAllNodesMakeOneLog(t *testing.T) {
	dir := t.TempDir()
	a, b := registration(1, "00000000-0000-7000-8000-000000000001"), registration(2, "00000000-0000-7000-8000-000000000002")
	journalOf(t, dir, "node-1", []*fsm.Entry{a})
	journalOf(t, dir, "node-2", []*fsm.Entry{a, b})
	files, _ := filepath.Glob(filepath.Join(dir, "node-1-*"))
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("torn")
	_ = f.Close()
	log, hashes, err := readJournals(dir)
	if err != nil || len(log) != 2 || len(hashes) != 2 {
		t.Fatalf("%d entries, %d hashes, %v", len(log), len(hashes), err)
	}
	h := history.NewRecorder(nil)
	if err := newReplayer(h).play(log); err != nil {
		t.Fatal(err)
	}
	leases := 0
	for _, e := range h.History() {
		if e.Kind == history.Lease {
			leases++
		}
	}
	if leases != 2 {
		t.Errorf("%d leases of two workers", leases)
	}
	journalOf(t, dir, "node-3", []*fsm.Entry{b})
	if _, _, err := readJournals(dir); err == nil || !strings.Contains(err.Error(), "entry 1 is of term 1 at") {
		t.Errorf("two entries with one index: %v", err)
	}
}

// A node that lost its disk led to the end of the chart, beside two others.
func TestOneNodeLeadsAtATimeOnTheChart(t *testing.T) {
	h := history.History{
		{At: time.Second, Kind: history.Leader, Node: "node-1", Term: 2},
		{At: 4 * time.Second, Kind: history.Leader, Node: "node-2", Term: 3},
	}
	if bars := nodeRow("node-1", h, 10).bars; len(bars) != 1 || bars[0].class != "leads" || bars[0].to != 4 {
		t.Errorf("node-1 has %v, want that it leads to 4 s", bars)
	}
}

func TestThePageShowsWhatIsWrong(t *testing.T) {
	h := history.History{
		{At: 0, Kind: history.NodeStart, Node: "node-1"},
		{At: time.Second, Kind: history.Leader, Node: "node-1", Term: 2},
		{At: 2 * time.Second, Kind: history.FaultBegin, Op: "node <killed>", Call: "f1", Detail: "node-1", Since: 2 * time.Second},
		{At: 2 * time.Second, Kind: history.NodeStop, Node: "node-1", Detail: "exit -1", Cause: syscall.SIGKILL.String()},
		{At: 5 * time.Second, Kind: history.FaultEnd, Op: "node <killed>", Call: "f1"},
	}
	l := &Lab{history: history.NewRecorder(nil), nodes: []*node{{name: "node-1"}}}
	r := l.newReport(Scenario{Name: "random"}, h, nil)
	if text := string(page(r)); !strings.Contains(text, "nothing was violated") || strings.Contains(text, "<killed>") || !strings.Contains(text, "leads in term 2") ||
		!strings.Contains(text, "exit -1, as the lab told it") {
		t.Errorf("page: %s", text)
	}
	if text := string(page(r)); strings.Contains(text, "machine itself") {
		t.Errorf("a machine that was never late: %s", text)
	}
	r.Broken = []string{"the moon <fell>"}
	r.Late = r.Late.noted(lateAfter).noted(2 * time.Second)
	if text := string(page(r)); !strings.Contains(text, "the moon &lt;fell&gt;") || !strings.Contains(text, "Broken") || !strings.Contains(text, "late 1 times, once by 2s") {
		t.Errorf("page: %s", text)
	}
}
