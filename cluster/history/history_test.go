package history_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/limpet-dev/limpet/cluster/history"
	"github.com/limpet-dev/limpet/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	day  = 24 * time.Hour
	big  = int64(1 << 40)
	long = 100 * 365 * day
)

// started is in 2033.
const started int64 = 2e18

// run makes the n-th run to end, with two tasks. Its id says its number.
func run(n int) *fsm.Archived {
	id := fsm.RunID(fmt.Sprintf("00000000-0000-7000-8000-%012x", n))
	a := &fsm.Archived{
		Run: &fsm.Run{
			ID: id, Tenant: "t", Seq: fsm.Seq(n), Status: fsm.Completed, Input: []byte(`{"n":1}`),
			Tasks: []fsm.TaskRunID{taskID(n, 0), taskID(n, 1)}, FinishedAt: fsm.Instant(n), FinishedWall: started,
		},
		Pin: &fsm.Pin{Run: id, Worker: "w"},
	}
	for i, t := range a.Run.Tasks {
		a.Tasks = append(a.Tasks, &fsm.TaskRun{ID: t, Run: id, Index: i, Status: fsm.Completed, Output: fmt.Appendf(nil, `{"n":%d}`, n)})
	}
	a.Logs = []*fsm.LogLine{{Task: a.Tasks[0].ID, Run: id, Message: "hello"}}
	a.Chunks = []*fsm.Chunk{{Task: a.Tasks[1].ID, Run: id, Message: []byte("piece")}}
	return a
}

func taskID(n, i int) fsm.TaskRunID {
	return fsm.TaskRunID(fmt.Sprintf("00000000-0000-7000-900%d-%012x", i, n))
}

func open(t *testing.T, cfg history.Config) *history.Store {
	t.Helper()
	if cfg.MaxAge == 0 {
		cfg.MaxAge = long
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = big
	}
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *history.Store, id string) *fsm.Archived {
	t.Helper()
	a, ok, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if ok != (a != nil) {
		t.Fatalf("Get(%q) says %v and gives %v", id, ok, a)
	}
	return a
}

func flush(t *testing.T, s *history.Store) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

func newest(t *testing.T, s *history.Store) []int {
	t.Helper()
	var out []int
	err := s.Newest(func(a *fsm.Archived) bool {
		out = append(out, int(a.Run.FinishedAt))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares by the bytes, which hold every field.
func same(t *testing.T, got, want *fsm.Archived) {
	t.Helper()
	if got == nil {
		t.Fatalf("run %s is not there", want.Run.ID)
	}
	if !bytes.Equal(got.Encode(nil), want.Encode(nil)) {
		t.Fatalf("run %s came back changed: %+v, want %+v", want.Run.ID, got, want)
	}
}

func TestRunIsReadBeforeAndAfterItIsWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, history.Config{Dir: dir})
	want := run(1)
	s.Add([]*fsm.Archived{want})
	same(t, get(t, s, string(want.Run.ID)), want)
	flush(t, s)
	if n := s.Stats().Waiting; n != 0 {
		t.Fatalf("%d runs wait after a flush", n)
	}
	same(t, get(t, s, string(want.Run.ID)), want)
	same(t, get(t, s, string(want.Tasks[1].ID)), want)
	if a := get(t, s, string(run(2).Run.ID)); a != nil {
		t.Fatalf("a run that was never added is there: %v", a.Run)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, get(t, open(t, history.Config{Dir: dir}), string(want.Tasks[0].ID)), want)
}

func TestLogThatIsPlayedAgainAddsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, history.Config{Dir: dir})
	s.Add([]*fsm.Archived{run(1), run(2)})
	flush(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, history.Config{Dir: dir})
	s.Add([]*fsm.Archived{run(1), run(2), run(3)})
	if got := fmt.Sprint(newest(t, s)); got != "[3 2 1]" {
		t.Fatalf("the history lists %v", got)
	}
	s.Add([]*fsm.Archived{run(3)})
	flush(t, s)
	if got := fmt.Sprint(newest(t, s)); got != "[3 2 1]" {
		t.Fatalf("the history lists %v after a flush", got)
	}
}

func TestRunsOfAnEarlierTimeAreKeptToo(t *testing.T) {
	s := open(t, history.Config{Dir: t.TempDir()})
	s.Add([]*fsm.Archived{run(9)})
	flush(t, s)
	s.Add([]*fsm.Archived{run(4)}) // a cluster that was formed anew begins at 0
	flush(t, s)
	same(t, get(t, s, string(run(4).Run.ID)), run(4))
}

func TestOldestFilesGoWhenTheStoreIsTooLarge(t *testing.T) {
	const limit = 4 << 20
	s := open(t, history.Config{Dir: t.TempDir(), MaxBytes: limit})
	n := 0
	for range 40 {
		var batch []*fsm.Archived
		for range 8 {
			n++
			batch = append(batch, withInput(run(n), 64<<10))
		}
		s.Add(batch)
		flush(t, s)
		if st := s.Stats(); st.Bytes > limit {
			t.Fatalf("after %d runs the files have %d bytes, %d are allowed", n, st.Bytes, limit)
		}
	}
	if a := get(t, s, string(run(1).Run.ID)); a != nil {
		t.Fatal("the oldest run is still there")
	}
	same(t, get(t, s, string(taskID(n, 1))), withInput(run(n), 64<<10))
	list := newest(t, s)
	if len(list) == 0 || list[0] != n || list[len(list)-1] <= 1 {
		t.Fatalf("the history lists %v of %d runs", list, n)
	}
	for i := 1; i < len(list); i++ {
		if list[i] != list[i-1]-1 {
			t.Fatalf("the history lists %d after %d", list[i], list[i-1])
		}
	}
}

// withInput gives the run an input that cannot be packed, always the same.
func withInput(a *fsm.Archived, n int) *fsm.Archived {
	r := rand.New(rand.NewPCG(uint64(a.Run.FinishedAt), 0))
	a.Run.Input = make([]byte, 0, n+8)
	for len(a.Run.Input) < n {
		a.Run.Input = binary.LittleEndian.AppendUint64(a.Run.Input, r.Uint64())
	}
	return a
}

// TestSlowDiskBoundsWhatWaits fills the store faster than it can write: Add
// waits, and what is in memory stays within the limit.
func TestSlowDiskBoundsWhatWaits(t *testing.T) {
	const payload, runs = 1 << 20, 200
	s := open(t, history.Config{Dir: t.TempDir()})
	for n := 1; n <= runs; n++ {
		s.Add([]*fsm.Archived{withInput(run(n), payload)})
		if waits := s.Stats().Waiting; waits > 66 {
			t.Fatalf("%d runs of 1 MiB wait in memory", waits)
		}
	}
	flush(t, s)
	if got := newest(t, s); len(got) != runs {
		t.Fatalf("%d of %d runs are kept", len(got), runs)
	}
}

func TestWithoutADirectoryALimitedNumberIsKept(t *testing.T) {
	s := open(t, history.Config{MaxBytes: 1 << 20})
	for n := 1; n <= 100; n++ {
		s.Add([]*fsm.Archived{withInput(run(n), 64<<10)})
	}
	flush(t, s)
	got := newest(t, s)
	if len(got) == 0 || len(got) > 16 || got[0] != 100 {
		t.Fatalf("of 100 runs of 64 KiB in 1 MiB the history lists %v", got)
	}
}

func TestDamagedFileIsPutAsideAndTheStoreGoesOn(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"no file":   func([]byte) []byte { return []byte("this is not a database") },
		"cut short": func(b []byte) []byte { return b[:24<<10] },
		"zeroes":    func(b []byte) []byte { return append(b[:8192], make([]byte, len(b)-8192)...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, history.Config{Dir: dir})
			for n := 1; n <= 50; n++ {
				s.Add([]*fsm.Archived{withInput(run(n), 4<<10)})
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, damage)
			var said bytes.Buffer
			s = open(t, history.Config{Dir: dir, Logger: hclog.New(&hclog.LoggerOptions{Output: &said})})
			s.Add([]*fsm.Archived{run(51)})
			flush(t, s)
			same(t, get(t, s, string(run(51).Run.ID)), run(51))
			if name != "empty" && !strings.Contains(said.String(), "damaged") {
				t.Fatalf("the damage is not told: %q", said.String())
			}
		})
	}
}

func spoil(t *testing.T, dir string, damage func([]byte) []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.history"))
	if err != nil || len(files) != 1 {
		t.Fatalf("history files: %v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], damage(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedByteIsAnErrorAndNotAWrongResult: the caller asks another node then. What
// was written at another time is not touched by it.
func TestFlippedByteIsAnErrorAndNotAWrongResult(t *testing.T) {
	dir := t.TempDir()
	s := open(t, history.Config{Dir: dir})
	s.Add([]*fsm.Archived{withInput(run(1), 1<<10)})
	flush(t, s)
	s.Add([]*fsm.Archived{run(2)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text := withInput(run(1), 1<<10).Run.Input[512:528]
	spoil(t, dir, func(b []byte) []byte {
		if !bytes.Contains(b, text) {
			t.Fatal("the input is not in the file")
		}
		return bytes.ReplaceAll(b, text, append([]byte{text[0] + 1}, text[1:]...))
	})
	s = open(t, history.Config{Dir: dir})
	if a, ok, err := s.Get(string(run(1).Run.ID)); ok || err == nil {
		t.Fatalf("a changed record was given out: %v", a)
	}
	same(t, get(t, s, string(run(2).Run.ID)), run(2))
}

func TestOldRunsExpire(t *testing.T) {
	dir := t.TempDir()
	s := open(t, history.Config{Dir: dir})
	old := run(1)
	old.Run.FinishedWall = time.Now().Add(-8 * day).UnixNano()
	s.Add([]*fsm.Archived{old})
	flush(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The age of the file's name is that of its writing; it is full by age now.
	files, err := filepath.Glob(filepath.Join(dir, "*.history"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	before := time.Now().Add(-8 * day)
	if err := os.Chtimes(files[0], before, before); err != nil {
		t.Fatal(err)
	}
	s = open(t, history.Config{Dir: dir, MaxAge: 7 * day})
	s.Add([]*fsm.Archived{run(2)})
	flush(t, s)
	s.Expire(time.Now())
	if a := get(t, s, string(old.Run.ID)); a != nil {
		t.Fatal("a run older than the limit is still there")
	}
	same(t, get(t, s, string(run(2).Run.ID)), run(2))
}

func TestWhatCannotBeWrittenIsKeptUntilItCan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	s := open(t, history.Config{Dir: dir, MaxAge: time.Hour, MaxBytes: 1 << 30})
	if err := os.RemoveAll(dir); err != nil { // no file can be made there, as on a full disk
		t.Fatal(err)
	}
	s.Add([]*fsm.Archived{run(1), run(2)})
	if err := s.Flush(); err == nil {
		t.Fatal("it was written: the test shows nothing")
	}
	s.Add([]*fsm.Archived{run(3)})
	same(t, get(t, s, string(run(1).Run.ID)), run(1))
	if got := newest(t, s); !slices.Equal(got, []int{3, 2, 1}) {
		t.Errorf("%v wait", got)
	}
	if got := s.Stats(); got.Waiting != 3 || got.Dropped != 0 || got.Failed == 0 {
		t.Errorf("the figures are %+v", got)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if got := s.Stats(); got.Waiting != 0 || got.Dropped != 0 {
		t.Errorf("the figures are %+v", got)
	}
	if got := newest(t, s); !slices.Equal(got, []int{3, 2, 1}) {
		t.Errorf("%v are there", got)
	}
}

// The machine would stand still with it, under a leader whose heartbeats go on.
func TestADiskThatHangsDoesNotHoldTheMachineUp(t *testing.T) {
	s := open(t, history.Config{Dir: t.TempDir(), MaxAge: time.Hour, MaxBytes: 1 << 30})
	s.Add([]*fsm.Archived{run(1), run(2)})
	flush(t, s)
	mend := make(chan struct{})
	reading, read := make(chan struct{}), make(chan error, 1)
	go func() {
		read <- s.Newest(func(*fsm.Archived) bool {
			close(reading)
			<-mend
			return false
		})
	}()
	<-reading // while a file is read none goes, and the writer waits for that
	const payload = 1 << 20
	for n := 3; n < 150; n++ { // more than may wait
		s.Add([]*fsm.Archived{withInput(run(n), payload)})
	}
	close(mend)
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Dropped == 0 {
		t.Errorf("nothing was dropped: %+v: the test shows nothing", got)
	}
	flush(t, s)
	s.Add([]*fsm.Archived{withInput(run(200), payload)})
	same(t, get(t, s, string(run(200).Run.ID)), withInput(run(200), payload))
}

// On a full disk each write fails at once, and the machine stood still for as
// long as for one that hangs: again after every write that did succeed.
func TestADiskThatRefusesDoesNotHoldTheMachineUp(t *testing.T) {
	base := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(base, "history")
		s := open(t, history.Config{Dir: dir, MaxAge: time.Hour, MaxBytes: 1 << 30})
		n := 0
		for round := range 2 {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			dropped, began := s.Stats().Dropped, time.Now()
			for range 100 { // more than may wait
				n++
				s.Add([]*fsm.Archived{withInput(run(n), 1<<20)})
			}
			if d := time.Since(began); d != 0 {
				t.Errorf("round %d: the machine waited %v for a disk that refuses", round, d)
			}
			if got := s.Stats(); got.Dropped == dropped || got.Failed == 0 {
				t.Errorf("round %d: %+v: the test shows nothing", round, got)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			flush(t, s)
			if waits := s.Stats().Waiting; waits != 0 {
				t.Errorf("round %d: %d runs wait for a disk that writes again", round, waits)
			}
		}
	})
}
