package cluster

import (
	"context"
	"strings"
	"sync"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// vouchers are the workers that this node heard of since it last told the
// leader.
type vouchers struct {
	mu    sync.Mutex
	heard map[fsm.WorkerID]time.Time
}

// note adds a sign of life.
func (v *vouchers) note(worker fsm.WorkerID, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.heard == nil {
		v.heard = map[fsm.WorkerID]time.Time{}
	}
	if at.After(v.heard[worker]) {
		v.heard[worker] = at
	}
}

// take gives all and forgets them.
func (v *vouchers) take() map[fsm.WorkerID]time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	taken := v.heard
	v.heard = nil
	return taken
}

// vouch tells the leader, until ctx ends. An empty batch is sent too: it is this
// node's own sign of life.
func (n *Node) vouch(ctx context.Context) {
	tick := time.NewTicker(n.cfg.VouchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		taken := n.vouchers.take()
		if n.sendVouchers(ctx, taken) {
			continue
		}
		for worker, at := range taken { // for the leader to come
			n.vouchers.note(worker, at)
		}
	}
}

func (n *Node) sendVouchers(ctx context.Context, taken map[fsm.WorkerID]time.Time) bool {
	now := time.Now()
	if r := n.current.Load(); r != nil {
		ages := make(map[fsm.WorkerID]time.Duration, len(taken))
		for worker, at := range taken {
			ages[worker] = now.Sub(at)
		}
		r.liveness.hear(n.Name(), ages, now)
		return true
	}
	conn := n.leaderConn(ctx)
	if conn == nil {
		return false
	}
	frame := &limpetv1.PeerVouchers{Vouchers: make([]*limpetv1.Voucher, 0, len(taken))}
	for worker, at := range taken {
		frame.Vouchers = append(frame.Vouchers, &limpetv1.Voucher{WorkerId: string(worker), AgeMillis: now.Sub(at).Milliseconds()})
	}
	return conn.write(&limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_Vouchers{Vouchers: frame}}) == nil
}

// disown makes the sessions of this node's earlier lives suspect, as long as
// any lease names one. They ended with their process; the workers likely did
// not.
func (n *Node) disown(ctx context.Context) {
	for pause := time.Duration(0); ; pause = 2 * time.Second {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := n.Barrier(ctx); err != nil || !n.holdsOldSession() {
			continue
		}
		cmd := suspectSessions(n.Name(), nodeReasonPrefix+n.cfg.Name+" restarted", n.incarnation)
		if _, err := n.Propose(ctx, cmd); err != nil && ctx.Err() == nil {
			n.log.Warn("sessions of this node's earlier life are still open in the state", "error", err)
		}
	}
}

func (n *Node) holdsOldSession() bool {
	for w := range n.View().Workers() {
		if w.Lease.State == fsm.LeaseLive && w.Lease.Node == n.Name() && !strings.HasPrefix(string(w.Lease.Session), n.incarnation) {
			return true
		}
	}
	return false
}
