package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/limpet-dev/limpet/fsm"
)

// The buckets of a file: records by mark, and the marks by id of a run or of a
// task run with an id of its own.
const (
	runsBucket = "runs"
	idsBucket  = "ids"
)

const sumSize = 4

// file is one database.
type file struct {
	path  string
	db    *bbolt.DB
	last  mark // of the newest run; changed by write only
	began time.Time
	bytes atomic.Int64
	wall  atomic.Int64 // the latest end of a run
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
		key, record := runs.Cursor().Last()
		if key == nil {
			return nil
		}
		a, err := readRecord(record)
		if err != nil {
			return err
		}
		f.last = markFrom(key)
		f.wall.Store(a.Run.FinishedWall)
		return nil
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

// ended is when the newest run in it ended, by the wall clock.
func (f *file) ended() int64 { return f.wall.Load() }

// full says whether it is time for another file.
func (f *file) full(bytes int64, age time.Duration, now time.Time) bool {
	return f.size() >= bytes || f.last != (mark{}) && now.Sub(f.began) >= age
}

func (f *file) write(runs []*fsm.Archived) error {
	last, wall := f.last, f.wall.Load()
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			records, ids := tx.Bucket([]byte(runsBucket)), tx.Bucket([]byte(idsBucket))
			records.FillPercent = 1 // keys only ever come at the end
			for _, a := range runs {
				m := markOf(a.Run)
				if last.before(m) {
					last = m
				}
				wall = max(wall, a.Run.FinishedWall)
				key := m.key()
				if err := records.Put(key, seal(a)); err != nil {
					return err
				}
				if err := ids.Put(shortID(string(a.Run.ID)), key); err != nil {
					return err
				}
				for _, t := range a.Tasks {
					if string(t.ID) == string(a.Run.ID) {
						continue
					}
					if err := ids.Put(shortID(string(t.ID)), key); err != nil {
						return err
					}
				}
			}
			return nil
		})
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

func (f *file) get(id string) (a *fsm.Archived, err error) {
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			key := tx.Bucket([]byte(idsBucket)).Get(shortID(id))
			if key == nil {
				return nil
			}
			a, err = readRecord(tx.Bucket([]byte(runsBucket)).Get(key))
			return err
		})
	})
	return a, err
}

func (f *file) newest(upTo mark, visit func(*fsm.Archived) bool) (more bool, err error) {
	more = true
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket([]byte(runsBucket)).Cursor()
			key, record := c.Seek(upTo.key())
			if key == nil {
				key, record = c.Last()
			} else {
				key, record = c.Prev()
			}
			for ; key != nil && more; key, record = c.Prev() {
				a, err := readRecord(record)
				if err != nil {
					return err
				}
				more = visit(a)
			}
			return nil
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

// seal gives a record with its checksum.
func seal(a *fsm.Archived) []byte {
	b := a.Encode(make([]byte, sumSize, a.Size()))
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[sumSize:]))
	return b
}

func open(b []byte) ([]byte, error) {
	if len(b) < sumSize || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[sumSize:]) {
		return nil, fmt.Errorf("%w: the checksum of a record is wrong", errDamaged)
	}
	return b[sumSize:], nil
}

func readRecord(sealed []byte) (*fsm.Archived, error) {
	b, err := open(sealed)
	if err != nil {
		return nil, err
	}
	return fsm.DecodeArchived(b) // it keeps no hold on what is gone after the transaction
}
