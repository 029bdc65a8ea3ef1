package history

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/limpet-dev/limpet/fsm"
)

// runAt makes the n-th run to end; two end at once.
func runAt(n int) *fsm.Archived {
	id := fmt.Sprintf("00000000-0000-7000-8000-%012d", n)
	return &fsm.Archived{
		Run: &fsm.Run{
			ID: fsm.RunID(id), Status: fsm.Completed, FinishedAt: fsm.Instant(n / 2), FinishedWall: int64(n),
			Tasks: []fsm.TaskRunID{fsm.TaskRunID(id), taskOf(n)},
		},
		Tasks: []*fsm.TaskRun{{ID: fsm.TaskRunID(id), Run: fsm.RunID(id), Output: []byte("an output that many runs have")}, {ID: taskOf(n), Run: fsm.RunID(id)}},
	}
}

// taskOf is a task run with an id of its own.
func taskOf(n int) fsm.TaskRunID {
	return fsm.TaskRunID(fmt.Sprintf("00000000-0000-7000-9000-%012d", n))
}

func runsFrom(from, to int) (out []*fsm.Archived) {
	for n := from; n < to; n++ {
		out = append(out, runAt(n))
	}
	return out
}

// numbers gives the runs before a mark, by their number, the last that ended first.
func numbers(t *testing.T, f *file, upTo mark) (out []int) {
	t.Helper()
	if _, err := f.newest(upTo, func(a *fsm.Archived) bool {
		out = append(out, int(a.Run.FinishedWall))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Runs share values, and each is found by itself; a record of an earlier version, one
// a value, is read beside them.
func TestRunsShareAValue(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "0000000001.history"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	if err := f.db.Update(func(tx *bbolt.Tx) error {
		for _, a := range runsFrom(1, 6) {
			key := markOf(a.Run).key()
			if err := tx.Bucket([]byte(idsBucket)).Put(shortID(string(a.Run.ID)), key); err != nil {
				return err
			}
			record := a.Encode(make([]byte, sumSize))
			binary.BigEndian.PutUint32(record, crc32.ChecksumIEEE(record[sumSize:]))
			if err := tx.Bucket([]byte(runsBucket)).Put(key, record); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const end = 2000
	for _, batch := range [][]*fsm.Archived{runsFrom(6, 7), runsFrom(7, 1500), runsFrom(1500, end)} {
		if err := f.write(batch); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n < end; n++ {
		id := string(runAt(n).Run.ID)
		if a, err := f.get(id); err != nil || a == nil || string(a.Run.ID) != id {
			t.Fatalf("get(%q) gives %+v, %v", id, a, err)
		}
	}
	if a, err := f.get("00000000-0000-7000-8000-999999999999"); a != nil || err != nil {
		t.Errorf("a run that was never written: %+v, %v", a, err)
	}
	for _, upTo := range []int{0, 1, 3, 6, 7, 8, 700, 1500, 1501, end - 1, end, end + 5} {
		var want []int
		for n := min(upTo, end) - 1; n > 0; n-- {
			want = append(want, n)
		}
		if got := numbers(t, f, markOf(runAt(upTo).Run)); !slices.Equal(got, want) {
			t.Errorf("before run %d: %d runs from %v, want %d", upTo, len(got), got[:min(3, len(got))], len(want))
		}
	}
	values := 0
	if err := f.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(runsBucket)).ForEach(func(_, _ []byte) error { values++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if values < 8 || values > 100 {
		t.Errorf("%d runs take %d values", end, values)
	}
	if f.last != markOf(runAt(end-1).Run) {
		t.Errorf("the newest run is %+v", f.last)
	}
}

// Whatever order runs come in, and however often, they are read in the order of their
// end, each once.
func TestLateRunsAreReadInTheirPlace(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		f, err := openFile(filepath.Join(dir, "0000000001.history"))
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _, _ = f.close(), os.Remove(f.path) }()
		have, sizes := map[int]bool{}, map[int]int{}
		for range rapid.IntRange(1, 8).Draw(rt, "batches") {
			var batch []*fsm.Archived
			at := rapid.IntRange(1, 300).Draw(rt, "from")
			for range rapid.IntRange(1, 150).Draw(rt, "runs") {
				a := runAt(at)
				a.Run.Input = make([]byte, rapid.SampledFrom([]int{0, 0, 0, 0, blockBytes}).Draw(rt, "input"))
				batch = append(batch, a)
				have[at], sizes[at] = true, len(a.Run.Input)
				at += rapid.SampledFrom([]int{1, 1, 1, 1, 2, 40, -30}).Draw(rt, "step")
				at = max(at, 1)
			}
			if err := f.write(batch); err != nil {
				rt.Fatal(err)
			}
		}
		all := slices.Sorted(maps.Keys(have))
		slices.Reverse(all)
		for _, upTo := range append([]int{1 << 30}, rapid.SliceOfN(rapid.SampledFrom(all), 1, 5).Draw(rt, "up to")...) {
			want := slices.DeleteFunc(slices.Clone(all), func(n int) bool { return n >= upTo })
			if got := numbers(t, f, markOf(runAt(upTo).Run)); !slices.Equal(got, want) {
				rt.Fatalf("before run %d it lists %v, want %v", upTo, got, want)
			}
		}
		for _, n := range all {
			id := string(runAt(n).Run.ID)
			for _, id := range []string{id, string(taskOf(n))} {
				if a, err := f.get(id); err != nil || a == nil || int(a.Run.FinishedWall) != n || len(a.Run.Input) != sizes[n] {
					rt.Fatalf("get of run %d by %q gives %v, %v", n, id, a, err)
				}
			}
			if ok, err := f.has(id); !ok || err != nil {
				rt.Fatalf("it has run %d: %v, %v", n, ok, err)
			}
		}
		if f.last != markOf(runAt(all[0]).Run) {
			rt.Fatalf("the newest run is %+v, want %d", f.last, all[0])
		}
	})
}

// What was in a damaged value is lost and told so; runs that come again can be read.
func TestRunsOfADamagedValueCanComeAgain(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "0000000001.history"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	if err := f.write(runsFrom(1, 20)); err != nil {
		t.Fatal(err)
	}
	key := markOf(runAt(19).Run).key()
	if err := f.db.Update(func(tx *bbolt.Tx) error {
		value := slices.Clone(tx.Bucket([]byte(runsBucket)).Get(key))
		value[len(value)/2]++
		return tx.Bucket([]byte(runsBucket)).Put(key, value)
	}); err != nil {
		t.Fatal(err)
	}
	if ok, _ := f.has(string(runAt(7).Run.ID)); ok {
		t.Error("it has a run whose value is damaged")
	}
	if err := f.write([]*fsm.Archived{runAt(7), runAt(19)}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 20; n++ {
		a, err := f.get(string(runAt(n).Run.ID))
		ok, _ := f.has(string(runAt(n).Run.ID))
		if again := n == 7 || n == 19; again != (a != nil) || again != ok || err != nil {
			t.Errorf("run %d: %v, %v; it has it: %v", n, a, err, ok)
		}
	}
}

func TestALargeRunDoesNotJoinSmallOnes(t *testing.T) {
	var b block
	b.add(runAt(1))
	if !b.fits(runAt(2), noMark()) || b.fits(runAt(1), noMark()) || b.fits(runAt(3), markOf(runAt(3).Run)) {
		t.Error("what fits is not what comes next")
	}
	large := runAt(2)
	large.Run.Input = make([]byte, blockBytes)
	if b.fits(large, noMark()) {
		t.Error("a large run joins a small one")
	}
}

func TestADamagedValueIsAnError(t *testing.T) {
	var b block
	for _, a := range runsFrom(1, 20) {
		b.add(a)
	}
	value := b.seal()
	read := func(v []byte) (n int, err error) {
		err = readValue(v, func(*fsm.Archived) bool { n++; return true })
		return n, err
	}
	if n, err := read(value); n != 19 || err != nil {
		t.Fatalf("%d runs, %v", n, err)
	}
	for i := range value {
		bad := slices.Clone(value)
		bad[i]++
		if _, err := read(bad); err == nil {
			t.Fatalf("with another byte %d it is read", i)
		}
		if _, err := read(value[:i]); err == nil {
			t.Fatalf("the first %d bytes of it are read", i)
		}
	}
}
