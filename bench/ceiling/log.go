package ceiling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

const (
	nodes       = 3
	mostBatch   = 1000 // commands of one entry
	mostBytes   = 1 << 20
	mostFlights = 4 // entries that are on their way at once
)

// Log is three raft nodes in this process, over TCP on loopback, each with a
// log in a file of its own that is synced at every write, and a state machine
// that does nothing. Commands that wait ride in one entry.
type Log struct {
	nodes    []*raft.Raft
	stores   []*raftboltdb.BoltStore
	leader   *raft.Raft
	queue    chan *command
	stop     chan struct{}
	work     sync.WaitGroup
	commands atomic.Int64
	entries  atomic.Int64
}

type command struct {
	data []byte
	done chan error
}

// NewLog starts the nodes with their files under dir.
func NewLog(dir string) (*Log, error) {
	const depth = 65536
	l := &Log{queue: make(chan *command, depth), stop: make(chan struct{})}
	var servers []raft.Server
	var transports []*raft.NetworkTransport
	for i := range nodes {
		t, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, nodes, 10*time.Second, hclog.NewNullLogger())
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("listen for raft: %w", err)
		}
		transports = append(transports, t)
		servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: t.LocalAddr()})
	}
	for i := range nodes {
		if err := l.add(filepath.Join(dir, fmt.Sprintf("log-%d.db", i)), servers[i].ID, transports[i]); err != nil {
			l.Close()
			return nil, err
		}
	}
	if err := l.nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		l.Close()
		return nil, fmt.Errorf("form the raft cluster: %w", err)
	}
	if err := l.awaitLeader(); err != nil {
		l.Close()
		return nil, err
	}
	l.work.Go(l.propose)
	return l, nil
}

func (l *Log) add(file string, id raft.ServerID, t raft.Transport) error {
	const cached = 512
	store, err := raftboltdb.New(raftboltdb.Options{Path: file})
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	l.stores = append(l.stores, store)
	cache, err := raft.NewLogCache(cached, store)
	if err != nil {
		return fmt.Errorf("cache of %s: %w", file, err)
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = id, hclog.NewNullLogger()
	r, err := raft.NewRaft(cfg, empty{}, cache, store, raft.NewDiscardSnapshotStore(), t)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	l.nodes = append(l.nodes, r)
	return nil
}

func (l *Log) awaitLeader() error {
	const patience, poll = 20 * time.Second, 10 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(poll) {
		for _, n := range l.nodes {
			if n.State() == raft.Leader {
				l.leader = n
				return nil
			}
		}
	}
	return errors.New("no raft node became leader")
}

// Commit returns when the bytes are on the disks of a quorum.
func (l *Log) Commit(ctx context.Context, data []byte) error {
	c := &command{data, make(chan error, 1)}
	select {
	case l.queue <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// propose drains what waits into one entry while earlier ones are on their way.
func (l *Log) propose() {
	flights := make(chan struct{}, mostFlights)
	for {
		select {
		case <-l.stop:
			return
		case flights <- struct{}{}:
		}
		var batch []*command
		select {
		case <-l.stop:
			return
		case c := <-l.queue:
			batch = l.drain(c)
		}
		data := make([]byte, 0, len(batch)*len(batch[0].data))
		for _, c := range batch {
			data = append(data, c.data...)
		}
		future := l.leader.Apply(data, 0)
		l.work.Go(func() {
			err := future.Error()
			<-flights
			l.commands.Add(int64(len(batch)))
			l.entries.Add(1)
			for _, c := range batch {
				c.done <- err
			}
		})
	}
}

func (l *Log) drain(first *command) []*command {
	batch, size := []*command{first}, len(first.data)
	for len(batch) < mostBatch && size < mostBytes {
		select {
		case c := <-l.queue:
			batch = append(batch, c)
			size += len(c.data)
		default:
			return batch
		}
	}
	return batch
}

// Counts gives how many commands were committed, in how many entries.
func (l *Log) Counts() (commands, entries int64) { return l.commands.Load(), l.entries.Load() }

// Close stops the nodes.
func (l *Log) Close() {
	close(l.stop)
	for _, n := range l.nodes {
		_ = n.Shutdown().Error()
	}
	l.work.Wait()
	for _, s := range l.stores {
		_ = s.Close()
	}
}

// empty is the state machine that does nothing.
type empty struct{}

// Apply implements [raft.FSM].
func (empty) Apply(*raft.Log) any { return nil }

// Snapshot implements [raft.FSM].
func (empty) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }

// Restore implements [raft.FSM].
func (empty) Restore(r io.ReadCloser) error { return r.Close() }

type nothing struct{}

// Persist implements [raft.FSMSnapshot].
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }

// Release implements [raft.FSMSnapshot].
func (nothing) Release() {}
