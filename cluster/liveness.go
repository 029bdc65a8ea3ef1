package cluster

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

const (
	livenessTick = 250 * time.Millisecond
	// reproposeAfter is when a loss that was proposed and did not happen is
	// proposed again.
	reproposeAfter = 2 * time.Second
	// nodeReasonPrefix begins the reason of a suspicion that is about the node
	// of a session and not about its worker.
	nodeReasonPrefix = "node "
)

// liveness is the leader's soft knowledge of who was heard of when. It lives
// and dies with a reign: a new one gives every lease a full TTL.
type liveness struct {
	cfg   LeaseConfig
	start time.Time

	mu    sync.Mutex
	heard map[fsm.WorkerID]time.Time
	nodes map[fsm.NodeID]time.Time // last frame of a node on the peer port

	// Of the goroutine that judges.
	leases    map[fsm.WorkerID]*watched
	suspected map[fsm.NodeID]time.Time // when SuspectSessions was proposed
	doubts    []doubt                  // of the latest judgement
	// away reports whether gossip says that a worker's process is; may be nil.
	away func(member string) bool
}

// watched is a lease as it was first seen in its present state.
type watched struct {
	state    fsm.LeaseState
	epoch    int64
	session  fsm.SessionID
	since    fsm.Instant
	node     fsm.NodeID
	reason   string
	seen     time.Time // when it was first seen so
	proposed time.Time // when its loss was last proposed
	asked    time.Time // when the nodes were last asked after it
	gone     string    // what they said, if they said that it is gone
	round    bool      // mark of the sweep
}

// doubt is a worker that the nodes are to be asked after.
type doubt struct {
	worker fsm.WorkerID
	member string
	about  *watched
}

func newLiveness(cfg LeaseConfig, now time.Time) *liveness {
	return &liveness{
		cfg: cfg, start: now,
		heard: map[fsm.WorkerID]time.Time{}, nodes: map[fsm.NodeID]time.Time{},
		leases: map[fsm.WorkerID]*watched{}, suspected: map[fsm.NodeID]time.Time{},
	}
}

// hear notes vouchers of a node. Ages count from now back, so that a heartbeat
// from before a stream broke is not taken for one after it.
func (l *liveness) hear(node fsm.NodeID, ages map[fsm.WorkerID]time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[node] = now
	for worker, age := range ages {
		if at := now.Add(-max(0, age)); at.After(l.heard[worker]) {
			l.heard[worker] = at
		}
	}
}

// nodeHeard is when a node last sent anything, counted from the reign's start.
func (l *liveness) nodeHeard(node fsm.NodeID) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return later(l.nodes[node], l.start)
}

func (l *liveness) lastHeard(worker fsm.WorkerID) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[worker]
}

// judge compares the leases with what was heard and gives the commands that
// follow. It is level-triggered: whatever is still due later is given again.
// gone says whether a node is away, and how in words.
func (l *liveness) judge(now time.Time, workers iter.Seq[*fsm.Worker], gone func(fsm.NodeID) (string, bool)) []fsm.Command {
	var cmds []fsm.Command
	l.doubts = nil
	away := map[fsm.NodeID]string{}
	asked := map[fsm.NodeID]bool{}
	for w := range workers {
		e := l.watch(w, now)
		if w.Lease.State == fsm.LeaseLost {
			continue
		}
		if w.Lease.State == fsm.LeaseLive && !asked[w.Lease.Node] {
			asked[w.Lease.Node] = true
			if how, ok := gone(w.Lease.Node); ok {
				away[w.Lease.Node] = how
				if now.Sub(l.suspected[w.Lease.Node]) >= reproposeAfter {
					l.suspected[w.Lease.Node] = now
					cmds = append(cmds, suspectSessions(w.Lease.Node, fmt.Sprintf("%s%s %s", nodeReasonPrefix, w.Lease.Node, how), ""))
				}
			}
		}
		if _, ok := away[w.Lease.Node]; ok && w.Lease.State == fsm.LeaseLive {
			continue // about to become suspect
		}
		heard := l.lastHeard(w.ID)
		l.question(w, e, heard, now)
		reason := l.verdict(e, heard, now)
		if reason == "" || now.Sub(e.proposed) < reproposeAfter {
			continue
		}
		e.proposed = now
		cmds = append(cmds, loseLease(w, reason))
	}
	l.sweep()
	return cmds
}

// watch keeps the entry of a worker's lease in step with the state.
func (l *liveness) watch(w *fsm.Worker, now time.Time) *watched {
	e := l.leases[w.ID]
	if e == nil || e.state != w.Lease.State || e.epoch != w.Lease.Epoch || e.session != w.Lease.Session || e.since != w.Lease.Since {
		e = &watched{
			state: w.Lease.State, epoch: w.Lease.Epoch, session: w.Lease.Session, since: w.Lease.Since,
			node: w.Lease.Node, reason: w.Lease.Reason, seen: now,
		}
		l.leases[w.ID] = e
	}
	e.round = true
	return e
}

// sweep forgets workers that are no more.
func (l *liveness) sweep() {
	for id, e := range l.leases {
		if !e.round {
			delete(l.leases, id)
			l.mu.Lock()
			delete(l.heard, id)
			l.mu.Unlock()
			continue
		}
		e.round = false
	}
}

// question notes a worker whose process the nodes should be asked after: its
// stream broke, or gossip calls it dead and its heartbeats do not come. What is
// heard of at a node is never asked after.
func (l *liveness) question(w *fsm.Worker, e *watched, heard, now time.Time) {
	if w.Member == "" || e.gone != "" || !e.askable(now) {
		return
	}
	if e.state == fsm.LeaseLive {
		if now.Sub(later(heard, e.seen)) < l.cfg.Grace || l.away == nil || !l.away(w.Member) {
			return
		}
	}
	l.doubts = append(l.doubts, doubt{w.ID, w.Member, e})
}

// testify takes the outcome of a question, unless the lease has changed since or
// the worker was heard of.
func (l *liveness) testify(t testimony) {
	if t.verdict != verdictGone || l.leases[t.worker] != t.about || l.lastHeard(t.worker).After(t.asked) {
		return
	}
	t.about.gone = t.words
}

// verdict gives the reason why a lease is over, or nothing. That a process is
// gone for sure counts at any time; silence counts only for a leader that would
// have heard something.
func (l *liveness) verdict(e *watched, heard, now time.Time) string {
	if e.gone != "" && !heard.After(e.asked) {
		if e.state == fsm.LeaseLive {
			return "no heartbeat, and " + e.gone
		}
		return orUnknown(e.reason) + ", and " + e.gone
	}
	if now.Sub(l.start) < l.cfg.TTL && !bugs.On(bugs.EarlyExpiry) {
		return "" // no lease is lost because the leader changed
	}
	since := e.seen
	if strings.HasPrefix(e.reason, nodeReasonPrefix) && e.state == fsm.LeaseSuspect {
		// The worker has been without its node since the node died, which is
		// earlier than that was noticed.
		if died := l.nodeHeard(e.node); died.Before(since) {
			since = died
		}
	}
	silent := now.Sub(later(heard, since))
	switch e.state {
	case fsm.LeaseLive:
		if silent >= l.cfg.TTL {
			return fmt.Sprintf("no heartbeat for %v", l.cfg.TTL)
		}
	case fsm.LeaseSuspect:
		deaf := 2 * l.cfg.TTL
		switch {
		case now.Sub(e.seen) >= deaf:
			return fmt.Sprintf("no stream for %v, though its heartbeats came", deaf)
		case e.session == "" && silent >= l.cfg.TTL:
			return fmt.Sprintf("registered, but opened no stream and sent no heartbeat for %v", l.cfg.TTL)
		case e.session == "" || heard.After(e.seen) || strings.HasPrefix(e.reason, nodeReasonPrefix):
			if silent >= l.cfg.TTL {
				return fmt.Sprintf("%s; neither stream nor heartbeat for %v", orUnknown(e.reason), l.cfg.TTL)
			}
		case now.Sub(e.seen) >= l.cfg.Grace:
			return fmt.Sprintf("%s; no heartbeat for %v", orUnknown(e.reason), l.cfg.Grace)
		}
	case fsm.LeaseLost:
	}
	return ""
}

func orUnknown(reason string) string {
	if reason == "" {
		return "its stream ended"
	}
	return reason
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func loseLease(w *fsm.Worker, reason string) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_LoseLease{LoseLease: &limpetv1.LoseLease{
		WorkerId: string(w.ID), Epoch: w.Lease.Epoch, Session: string(w.Lease.Session), Reason: reason,
	}}}
}

func suspectSessions(node fsm.NodeID, reason, keepPrefix string) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_SuspectSessions{SuspectSessions: &limpetv1.SuspectSessions{
		Node: string(node), Reason: reason, KeepPrefix: keepPrefix,
	}}}
}

// watchLeases is the leader's duty to judge, until ctx ends.
func (n *Node) watchLeases(ctx context.Context, r *reign) error {
	tick := time.NewTicker(livenessTick)
	defer tick.Stop()
	r.liveness.away = func(member string) bool {
		m, ok := n.gossip.table.workers.get(member)
		return ok && m.state != memberAlive
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case t := <-r.testimonies:
			r.liveness.testify(t)
		case <-n.hints.wake:
			if !n.hints.suspect(n.machine.state().view) {
				continue
			}
		}
		now := n.awake.Now()
		view := n.machine.state().view
		gone := func(node fsm.NodeID) (string, bool) { return n.nodeGone(r.liveness, node, now) }
		for _, cmd := range r.liveness.judge(now, view.Workers(), gone) {
			r.propose(cmd)
		}
		n.investigate(ctx, r, r.liveness.doubts)
	}
}

const (
	// nodeSilence confirms gossip: a node that sent a frame more recently is not
	// dead, whatever gossip says.
	nodeSilence = 1500 * time.Millisecond
	// strangerPatience is how long a new leader waits for gossip to name a node.
	strangerPatience = 5 * time.Second
)

// nodeGone says whether the sessions at a node are orphans. Gossip proposes and
// the silence of the node's peer connection confirms.
func (n *Node) nodeGone(l *liveness, node fsm.NodeID, now time.Time) (string, bool) {
	if node == n.Name() {
		return "", false
	}
	var how string
	switch m, ok := n.gossip.table.get(string(node)); {
	case !ok && now.Sub(l.start) >= strangerPatience:
		how = "is not in the cluster"
	case !ok || m.state == memberAlive:
		return "", false
	case m.state == memberLeft:
		return "has left", true
	default:
		how = "is dead"
	}
	return how, now.Sub(l.nodeHeard(node)) >= nodeSilence
}
