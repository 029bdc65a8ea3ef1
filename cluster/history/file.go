package history

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/limpet-dev/limpet/fsm"
)

// The buckets of a file: blocks of records by the mark of the last run in them, and
// those marks by id of a run or of a task run with an id of its own.
const (
	runsBucket = "runs"
	idsBucket  = "ids"
)

// file is one database.
type file struct {
	path  string
	db    *bbolt.DB
	last  mark // of the newest run; changed by write only
	began time.Time
	bytes atomic.Int64
	wall  atomic.Int64 // no run ended later
}

var errDamaged = errors.New("it is damaged")

func openFile(path string) (*file, error) {
	f := &file{path: path, began: time.Now()}
	if info, err := os.Stat(path); err == nil {
		f.began = info.ModTime()
	}
	err := guard(func() (err error) {
		// The free list is written, unlike that of the log: to rebuild it, bbolt walks
		// the whole file on a goroutine of its own, and a damaged one ends the process.
		f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, InitialMmapSize: maxFileBytes,
		})
		if err != nil {
			return err
		}
		f.db.AllocSize = minFileBytes
		return f.look()
	})
	if err != nil {
		return nil, errors.Join(err, guard(f.close))
	}
	return f, nil
}

// look makes the buckets and reads the end of the file, so that a file that was
// cut short is known when it is opened.
func (f *file) look() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	fresh := false
	err = f.db.View(func(tx *bbolt.Tx) error {
		f.bytes.Store(tx.Size())
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: it has %d bytes and should have %d", errDamaged, info.Size(), tx.Size())
		}
		runs, ids := tx.Bucket([]byte(runsBucket)), tx.Bucket([]byte(idsBucket))
		if fresh = runs == nil || ids == nil; fresh {
			return nil
		}
		key, value := runs.Cursor().Last()
		if key == nil {
			return nil
		}
		f.last = markFrom(key)
		f.wall.Store(info.ModTime().UnixNano()) // others than the last may have ended later
		return readValue(value, func(a *fsm.Archived) bool {
			f.wall.Store(max(f.wall.Load(), a.Run.FinishedWall))
			return true
		})
	})
	if err != nil || !fresh {
		return err
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{runsBucket, idsBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// guard turns what bbolt does on a damaged file, to panic or to read where
// there is no file, into an error.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return do()
}

func (f *file) size() int64 { return f.bytes.Load() }

// ended is when all runs in it had ended, by the wall clock.
func (f *file) ended() int64 { return f.wall.Load() }

// full says whether it is time for another file.
func (f *file) full(bytes int64, age time.Duration, now time.Time) bool {
	return f.size() >= bytes || f.last != (mark{}) && now.Sub(f.began) >= age
}

func (f *file) write(runs []*fsm.Archived) error {
	last, wall := f.last, f.wall.Load()
	for _, a := range runs {
		if m := markOf(a.Run); last.before(m) {
			last = m
		}
		wall = max(wall, a.Run.FinishedWall)
	}
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error { return put(tx, runs) })
	})
	if err != nil {
		return err
	}
	f.last = last
	f.wall.Store(wall)
	return guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			f.bytes.Store(tx.Size())
			return nil
		})
	})
}

// get finds a run by its id or by that of one of its task runs.
func (f *file) get(id string) (found *fsm.Archived, err error) {
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			key := tx.Bucket([]byte(idsBucket)).Get(shortID(id))
			if key == nil {
				return nil
			}
			err := readValue(tx.Bucket([]byte(runsBucket)).Get(key), func(a *fsm.Archived) bool {
				if is(a, id) {
					found = a
				}
				return found == nil
			})
			if err == nil && found == nil {
				err = fmt.Errorf("%w: a run is not where it should be", errDamaged)
			}
			return err
		})
	})
	return found, err
}

// has says whether a run is kept, by its id; one whose value is damaged is not. It does
// not unpack the value: a log that is played again asks for every run in it.
func (f *file) has(id string) (ok bool, err error) {
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			if key := tx.Bucket([]byte(idsBucket)).Get(shortID(id)); key != nil {
				ok = whole(tx.Bucket([]byte(runsBucket)).Get(key))
			}
			return nil
		})
	})
	return ok, err
}

// is says whether an id is that of the run or of one of its task runs.
func is(a *fsm.Archived, id string) bool {
	return string(a.Run.ID) == id || slices.ContainsFunc(a.Tasks, func(t *fsm.TaskRun) bool { return string(t.ID) == id })
}

// newest visits the runs that ended before a mark, those that ended last first, until
// visit says no.
func (f *file) newest(upTo mark, visit func(*fsm.Archived) bool) (more bool, err error) {
	more = true
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket([]byte(runsBucket)).Cursor()
			var damaged error
			// A value has the key of its last run: the first one not before the mark may
			// have some before it.
			key, value := c.Seek(upTo.key())
			if key == nil {
				key, value = c.Last()
			}
			for ; key != nil && more; key, value = c.Prev() {
				var runs []*fsm.Archived
				err := readValue(value, func(a *fsm.Archived) bool {
					earlier := markOf(a.Run).before(upTo)
					if earlier {
						runs = append(runs, a)
					}
					return earlier
				})
				if err != nil { // it does not hide the others
					damaged = err
					continue
				}
				for _, a := range slices.Backward(runs) {
					if more = visit(a); !more {
						break
					}
				}
			}
			return damaged
		})
	})
	return more, err
}

func (f *file) close() error {
	if f.db == nil {
		return nil
	}
	return f.db.Close()
}
