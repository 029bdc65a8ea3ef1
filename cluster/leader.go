package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// leaderRetry is the pause before a leader whose duties failed takes them up
// again.
const leaderRetry = 50 * time.Millisecond

// reign is one stretch of leader duties: from a barrier to the first error. A
// term of Raft has one or, after an error that did not cost the leadership,
// several; never two at once.
type reign struct {
	term     uint64
	over     <-chan struct{} // closed when it ends
	proposer *proposer
	liveness *liveness
	// probing has room for as many questions after workers as may be open, and
	// testimonies are their outcomes.
	probing     chan struct{}
	testimonies chan testimony
}

// send implements route for the node that leads itself.
func (r *reign) send(batch []*waiter) ([]refusal, error) {
	offers := make([]offer, len(batch))
	for i, w := range batch {
		offers[i] = offer{w.cmd, w.data, w.resent}
	}
	return r.proposer.take(offers), nil
}

// lead follows Raft's word on the leadership until ctx ends.
func (n *Node) lead(ctx context.Context) {
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-n.raft.LeaderCh():
			end() // also when it was lost and won again in between
			if end = func() {}; leads {
				end = n.startTerm(ctx)
			}
		}
	}
}

// startTerm begins to lead; the function returned ends that and waits for it.
func (n *Node) startTerm(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.leadTerm(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// leadTerm takes up the duties again and again while this node leads.
func (n *Node) leadTerm(ctx context.Context) {
	var stuck time.Time // since when Raft answers only that it hands over
	for ctx.Err() == nil && n.raft.State() == raft.Leader {
		err := n.reign(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
			stuck = time.Time{}
		case stuck.IsZero():
			stuck = time.Now()
		case time.Since(stuck) > 3*n.cfg.Raft.Election+3*time.Second:
			// Known fault of the library: a transfer that raced a step-down is
			// never marked as ended, and the leader refuses everything.
			n.fatal(errors.New("raft is stuck in a leadership transfer: restart this node"))
			return
		}
		n.log.Info("leader duties ended", "leading", n.raft.State() == raft.Leader, "why", err)
		select {
		case <-ctx.Done():
		case <-time.After(leaderRetry):
		}
	}
}

// reign does the duties until the first error or the end of ctx.
func (n *Node) reign(ctx context.Context) error {
	term := n.raft.CurrentTerm()
	if err := awaitFuture(ctx, n.raft.Barrier(0)); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if now := n.raft.CurrentTerm(); now != term { // another may have led in between
		return fmt.Errorf("%w: term %d, and %d after the barrier", errDeposed, term, now)
	}
	state := n.machine.state()
	head := n.machine.clone()
	r := &reign{
		term:     term,
		proposer: newProposer(n.raft, head, newClusterClock(head.Stamp().Instant, n.contact.since(state.at), n.cfg.Wall, n.awake.Now), n.cfg.Decide, n.cfg.MaxWaiting),
		liveness: newLiveness(n.cfg.Lease, n.awake.Now()),
		probing:  make(chan struct{}, maxProbes), testimonies: make(chan testimony, maxProbes),
	}
	r.proposer.ahead, r.proposer.applied = n.machine.speculate, n.View
	defer n.machine.forgetSpeculations()
	announcer := newAnnouncer(n)
	r.proposer.committed = func(index uint64) {
		// The term must be the entry's own: by now Raft may be in a later one.
		var entry raft.Log
		if err := n.storage.logs.GetLog(index, &entry); err == nil {
			announcer.committed(index, entry.Term)
		}
	}
	r.proposer.load.total = &n.refused
	r.proposer.load.disk = func() (uint64, time.Duration) {
		h := n.DiskHealth()
		return h.Writes, h.Spent
	}
	r.proposer.load.told = func(on bool, rate float64) {
		n.log.Info("load", "saturated", on, "ends_per_second", int(rate))
	}
	if n.forward.inherits() {
		r.proposer.load.goOn()
	}
	r.proposer.early = n.early
	if state.view.ClusterID() == "" && n.cfg.BootstrapCommand != nil {
		r.propose(n.cfg.BootstrapCommand())
	}
	n.log.Info("leading", "term", term, "seq", state.view.Seq())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.over = ctx.Done()
	var duties sync.WaitGroup
	for _, duty := range []func(context.Context) error{
		r.proposer.run, r.proposer.collect,
		func(ctx context.Context) error { return n.watchLeases(ctx, r) },
		n.keepMembership, announcer.run,
	} {
		duties.Go(func() { cancel(duty(ctx)) })
	}
	n.current.Store(r)
	signal(n.forward.wake)
	<-ctx.Done()
	n.current.Store(nil)
	n.server.giveBack()
	duties.Wait()
	return context.Cause(ctx)
}

// propose adds a command of the leader's own. If it is lost with the reign, the
// next one finds the same reason for it.
func (r *reign) propose(cmd fsm.Command) {
	if len(cmd.GetRequestId()) == 0 {
		cmd.RequestId = newRequestID()
	}
	r.proposer.queue.put([]offer{{cmd: cmd}})
}

// early does with entries that are not committed what only committed ones are
// for: two deliberate bugs.
func (n *Node) early(head *fsm.Machine, out fsm.Outcome) {
	if bugs.On(bugs.AckEarly) {
		n.forward.answer(out.Results)
		return
	}
	n.machine.now.Store(&applied{view: head.View(), stamp: head.Stamp(), at: time.Now()})
	n.fanout.push(out.Effects)
}
