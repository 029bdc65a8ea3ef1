package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	fileSuffix    = ".history"
	damagedSuffix = ".damaged"
	// shares is into how many files the store is divided: so much of it goes at
	// a time.
	shares       = 16
	minFileBytes = 1 << 20
	maxFileBytes = 256 << 20
)

// disk is the row of files.
type disk struct {
	cfg Config
	log hclog.Logger

	mu    sync.RWMutex // held for reading while a file is read
	files []*file      // oldest first; the last is written
	next  int          // number of the next file
}

func openDisk(cfg Config, log hclog.Logger) (*disk, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	d := &disk{cfg: cfg, log: log, next: 1}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // by name, which is by age
		number, ok := fileNumber(e.Name())
		if !ok {
			continue
		}
		d.next = max(d.next, number+1)
		path := filepath.Join(cfg.Dir, e.Name())
		f, err := openFile(path)
		if err != nil {
			d.putAside(path, err)
			continue
		}
		d.files = append(d.files, f)
	}
	return d, nil
}

func fileNumber(name string) (int, bool) {
	stem, ok := strings.CutSuffix(name, fileSuffix)
	if !ok {
		return 0, false
	}
	var n int
	_, err := fmt.Sscanf(stem, "%d", &n)
	return n, err == nil
}

// putAside keeps one damaged file for whoever wants to look into it.
func (d *disk) putAside(path string, cause error) {
	aside := filepath.Join(d.cfg.Dir, "history"+damagedSuffix)
	err := os.Rename(path, aside)
	d.log.Error("a history file is damaged; the node goes on without it, and asks the others for what it held",
		"file", path, "moved_to", aside, "error", errors.Join(cause, err))
}

// last is the mark of the newest run on disk.
func (d *disk) last() mark {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var m mark
	for _, f := range d.files {
		if m.before(f.last) {
			m = f.last
		}
	}
	return m
}

// write adds runs to the newest file, synced. If that turns out to be damaged,
// another takes its place.
func (d *disk) write(runs []*fsm.Archived) error {
	f, err := d.current()
	if err != nil {
		return err
	}
	err = f.write(runs)
	if errors.Is(err, errDamaged) {
		d.forget(f)
		d.putAside(f.path, errors.Join(err, guard(f.close)))
		if f, err = d.current(); err != nil {
			return err
		}
		err = f.write(runs)
	}
	if err != nil {
		return fmt.Errorf("write history file %q: %w", f.path, err)
	}
	d.shrink()
	return nil
}

func (d *disk) forget(f *file) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = slices.DeleteFunc(d.files, func(o *file) bool { return o == f })
}

// current gives the file to write to. Only one goroutine writes.
func (d *disk) current() (*file, error) {
	d.mu.RLock()
	var f *file
	if len(d.files) > 0 {
		f = d.files[len(d.files)-1]
	}
	d.mu.RUnlock()
	if f != nil && !f.full(d.fileBytes(), d.cfg.MaxAge/shares, time.Now()) {
		return f, nil
	}
	f, err := openFile(filepath.Join(d.cfg.Dir, fmt.Sprintf("%010d%s", d.next, fileSuffix)))
	if err != nil {
		return nil, err
	}
	d.next++
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, f)
	return f, nil
}

func (d *disk) fileBytes() int64 {
	return min(max(d.cfg.MaxBytes/shares, minFileBytes), maxFileBytes)
}

// shrink drops the oldest files while all are too large together.
func (d *disk) shrink() {
	_, total := d.size()
	for total > d.cfg.MaxBytes {
		size, ok := d.dropOldest(func(*file) bool { return true })
		if !ok {
			return
		}
		total -= size
	}
}

// expire drops the files all of whose runs are too old.
func (d *disk) expire(now time.Time) {
	before := now.Add(-d.cfg.MaxAge).UnixNano()
	for {
		if _, ok := d.dropOldest(func(f *file) bool { return f.ended() < before }); !ok {
			return
		}
	}
}

// dropOldest removes the oldest file if it may go; never the one that is written.
func (d *disk) dropOldest(may func(*file) bool) (size int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.files) < 2 || !may(d.files[0]) {
		return 0, false
	}
	f := d.files[0]
	d.files = slices.Delete(d.files, 0, 1)
	size = f.size()
	if err := errors.Join(f.close(), os.Remove(f.path)); err != nil {
		d.log.Warn("an old history file could not be removed", "file", f.path, "error", err)
	}
	return size, true
}

func (d *disk) size() (files int, bytes int64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, f := range d.files {
		bytes += f.size()
	}
	return len(d.files), bytes
}

// get looks through the files, newest first. A file that cannot be read does
// not hide the others.
func (d *disk) get(id string) (*fsm.Archived, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, f := range slices.Backward(d.files) {
		a, err := f.get(id)
		if a != nil {
			return a, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("history file %q: %w", f.path, err))
		}
	}
	return nil, errors.Join(errs...)
}

// has says whether a run is kept and can be read.
func (d *disk) has(id string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, f := range slices.Backward(d.files) {
		if ok, err := f.has(id); ok && err == nil {
			return true
		}
	}
	return false
}

// newest visits runs before the mark, backwards.
func (d *disk) newest(upTo mark, visit func(*fsm.Archived) bool) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, f := range slices.Backward(d.files) {
		more, err := f.newest(upTo, visit)
		if err != nil {
			errs = append(errs, fmt.Errorf("history file %q: %w", f.path, err))
		}
		if !more {
			break
		}
	}
	return errors.Join(errs...)
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.close())
	}
	d.files = nil
	return errors.Join(errs...)
}
