package cluster

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// forgetWorkers is how long a worker that is dead or has left stays in the
	// table: by then its lease has been judged.
	forgetWorkers = 10 * time.Minute
	// pings is how often a worker is asked whether it lives; each ping waits for
	// memberlist's probe timeout.
	pings = 3
)

// workerTable keeps what gossip says of the processes of workers. It is a place
// to look, and no source of events: a worker that comes and goes in gossip costs
// an entry here and nothing in the log. Memberlist calls put with its own lock
// held.
type workerTable struct {
	fresh chan struct{} // capacity 1: some are to be pinged for the first time

	mu     sync.Mutex
	byName map[string]*workerMember
	greet  []string
	deaths int64
	probes [verdictGone + 1]int64 // by verdict
}

// WorkerGossip is what this node's gossip says of the processes of workers, and
// how often it was asked to make sure since the node started.
type WorkerGossip struct {
	Alive, Dead, Left int64
	// Deaths counts how often a process was believed dead, rightly or not.
	Deaths int64
	// The probes of this node while it led, by what all nodes together said.
	ProbedAlive, ProbedGone, ProbedUnsure int64
}

// WorkerGossip gives the counts for metrics.
func (n *Node) WorkerGossip() WorkerGossip {
	t := n.gossip.table.workers
	t.mu.Lock()
	defer t.mu.Unlock()
	out := WorkerGossip{
		Deaths: t.deaths, ProbedAlive: t.probes[verdictAlive], ProbedGone: t.probes[verdictGone], ProbedUnsure: t.probes[verdictNone],
	}
	for _, m := range t.byName {
		switch m.state {
		case memberAlive:
			out.Alive++
		case memberDead:
			out.Dead++
		case memberLeft:
			out.Left++
		}
	}
	return out
}

func (t *workerTable) countProbe(v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.probes[v]++
}

// workerMember is the process of one or more workers as gossip knows it.
type workerMember struct {
	state memberState
	addr  net.Addr
	since time.Time
	// reached: it has answered a ping of this node, so that its silence means
	// something.
	reached bool
}

func newWorkerTable() *workerTable {
	return &workerTable{fresh: make(chan struct{}, 1), byName: map[string]*workerMember{}}
}

func (t *workerTable) put(n *memberlist.Node, state memberState, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[n.Name]
	if m == nil {
		m = &workerMember{}
		t.byName[n.Name] = m
		t.greet = append(t.greet, n.Name)
		signal(t.fresh)
	}
	if state == memberDead && m.state != memberDead {
		t.deaths++
	}
	m.state, m.since = state, now
	m.addr = &net.UDPAddr{IP: n.Addr, Port: int(n.Port)}
	for name, old := range t.byName {
		if old.state != memberAlive && now.Sub(old.since) > forgetWorkers {
			delete(t.byName, name)
		}
	}
}

// get gives a copy of an entry.
func (t *workerTable) get(name string) (workerMember, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.byName[name]
	if !ok {
		return workerMember{}, false
	}
	return *m, true
}

func (t *workerTable) setReached(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.byName[name]; m != nil {
		m.reached = true
	}
}

// toGreet gives those that were never pinged.
func (t *workerTable) toGreet() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.greet
	t.greet = nil
	return list
}

// greet pings each worker once when it joins, until ctx ends: a worker that can
// be reached now and not later is gone; one that never could tells nothing.
func (n *Node) greet(ctx context.Context) {
	t := n.gossip.table.workers
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.fresh:
		}
		for _, name := range t.toGreet() {
			for range pings {
				if ctx.Err() != nil || n.ping(name) {
					break
				}
			}
		}
	}
}

// ping asks a worker's process directly whether it lives.
func (n *Node) ping(name string) bool {
	m, ok := n.gossip.table.workers.get(name)
	if !ok {
		return false
	}
	if _, err := n.gossip.list.Ping(name, m.addr); err != nil {
		return false
	}
	n.gossip.table.workers.setReached(name)
	return true
}
