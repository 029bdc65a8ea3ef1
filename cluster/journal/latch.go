package journal

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// Both is a store of the log and of Raft's terms and votes.
type Both interface {
	raft.LogStore
	raft.StableStore
}

// Latch lets nothing be written to a store any more after an input/output error: the
// kernel may have dropped what it could not write, and a later sync would say that all
// is well. A journal writes to the store when nobody waits for it; so whoever watches
// is told at once, also of a write that hangs.
type Latch struct {
	Both

	mu     sync.Mutex
	broken error
	limit  time.Duration
	failed func(error)
}

// NewLatch puts one before a store.
func NewLatch(store Both) *Latch { return &Latch{Both: store} }

// Watch names who is told of an input/output error, and of a write that takes longer
// than the limit. It may be told more than once.
func (l *Latch) Watch(limit time.Duration, failed func(error)) {
	l.mu.Lock()
	l.limit, l.failed = limit, failed
	broken := l.broken
	l.mu.Unlock()
	if broken != nil {
		failed(broken)
	}
}

var errHangs = errors.New("a write of the log store does not end")

// note remembers an input/output error.
func (l *Latch) note(err error) {
	if !errors.Is(err, syscall.EIO) {
		return
	}
	l.mu.Lock()
	if l.broken == nil {
		l.broken = err
	}
	failed := l.failed
	l.mu.Unlock()
	if failed != nil {
		failed(err)
	}
}

func (l *Latch) do(write func() error) error {
	l.mu.Lock()
	broken, limit, failed := l.broken, l.limit, l.failed
	l.mu.Unlock()
	if broken != nil {
		return broken
	}
	if failed != nil {
		defer time.AfterFunc(limit, func() { failed(errHangs) }).Stop()
	}
	err := write()
	l.note(err)
	return err
}

// StoreLog implements raft.LogStore.
func (l *Latch) StoreLog(log *raft.Log) error {
	return l.do(func() error { return l.Both.StoreLog(log) })
}

// StoreLogs implements raft.LogStore.
func (l *Latch) StoreLogs(logs []*raft.Log) error {
	return l.do(func() error { return l.Both.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (l *Latch) DeleteRange(first, last uint64) error {
	return l.do(func() error { return l.Both.DeleteRange(first, last) })
}

// Set implements raft.StableStore.
func (l *Latch) Set(key, val []byte) error { return l.do(func() error { return l.Both.Set(key, val) }) }

// SetUint64 implements raft.StableStore.
func (l *Latch) SetUint64(key []byte, val uint64) error {
	return l.do(func() error { return l.Both.SetUint64(key, val) })
}
