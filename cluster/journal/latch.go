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

	writing sync.Mutex // one write at a time: the next must know how the one before it ended

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

// watched does a write to something else on the same disk, of which the same is told.
func (l *Latch) watched(write func() error) error {
	defer l.clock()()
	err := write()
	if failed := l.remember(err); failed != nil {
		failed(err)
	}
	return err
}

// remember gives who is to be told of an input/output error; nil if it is none.
func (l *Latch) remember(err error) func(error) {
	if !errors.Is(err, syscall.EIO) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
	}
	return l.failed
}

// clock begins to watch a write, and gives what ends that.
func (l *Latch) clock() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.failed
	if failed == nil {
		return func() {}
	}
	timer := time.AfterFunc(l.limit, func() { failed(errHangs) })
	return func() { timer.Stop() }
}

func (l *Latch) do(write func() error) error {
	err, failed := l.one(write)
	if failed != nil {
		failed(err)
	}
	return err
}

// one does a write, and gives who is to be told of its error.
func (l *Latch) one(write func() error) (error, func(error)) { //nolint:staticcheck // the error is not the last thing to be done
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	if broken != nil {
		return broken, nil
	}
	defer l.clock()()
	err := write()
	return err, l.remember(err)
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
