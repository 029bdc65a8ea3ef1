package history

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/limpet-dev/limpet/fsm"
)

func runAt(n int) *fsm.Archived {
	id := fmt.Sprintf("00000000-0000-7000-8000-%012d", n)
	return &fsm.Archived{
		Run:   &fsm.Run{ID: fsm.RunID(id), Status: fsm.Completed, FinishedAt: fsm.Instant(n), FinishedWall: int64(n), Tasks: []fsm.TaskRunID{fsm.TaskRunID(id)}},
		Tasks: []*fsm.TaskRun{{ID: fsm.TaskRunID(id), Run: fsm.RunID(id), Output: []byte("an output that many runs have")}},
	}
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
		out = append(out, int(a.Run.FinishedAt))
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

// A run that ended before those that are kept already does not join them: the marks of
// a value's runs grow.
func TestAnEarlierRunHasAValueOfItsOwn(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "0000000001.history"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	if err := f.write(append(append(runsFrom(10, 20), runAt(5)), runsFrom(20, 30)...)); err != nil {
		t.Fatal(err)
	}
	want := append(runsFrom(10, 30), runAt(5))
	got := numbers(t, f, noMark())
	if len(got) != len(want) || got[len(got)-1] != 5 {
		t.Errorf("read as %v", got)
	}
	for _, a := range want {
		if got, err := f.get(string(a.Run.ID)); err != nil || got == nil {
			t.Errorf("run %d: %v, %v", a.Run.FinishedAt, got, err)
		}
	}
}

func TestADamagedValueIsAnError(t *testing.T) {
	var b block
	for _, a := range runsFrom(1, 20) {
		b.add(a, markOf(a.Run))
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
