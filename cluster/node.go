package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/awake"
	"github.com/limpet-dev/limpet/cluster/history"
	"github.com/limpet-dev/limpet/cluster/quorum"
	"github.com/limpet-dev/limpet/fsm"
)

const abdicateTick = 5 * time.Millisecond

// Node is one coordinator node. All its methods may be called by any goroutine.
type Node struct {
	cfg         Config
	log         hclog.Logger
	incarnation string

	storage   *storage
	machine   *machine
	fanout    *fanout
	hints     *hints
	forward   *forwarder
	vouchers  vouchers
	port      *peerPort
	peers     *peers
	server    *peerServer
	gossip    *gossip
	keys      *keys
	formation *formation
	contact   contact
	awake     awake.Clock
	acks      quorum.Acks
	holds     *holdings
	raft      *raft.Raft
	transport *raftTransport
	history   *history.Store
	pastCalls chan struct{} // room for searches at other nodes

	current   atomic.Pointer[reign] // while this node does the leader's duties
	refused   atomic.Int64          // runs, by the leader that this node was
	removed   sync.Map              // node name -> when this node removed it
	retiring  retirement            // whether this node was told that it is being removed
	judged    atomic.Pointer[judgement]
	fatalOnce sync.Once
	restored  chan struct{} // a snapshot took the place of the state

	ctx       context.Context //nolint:containedctx // the life of the node, which no single call owns
	stop      context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Open starts a node. It returns as soon as the node runs; whether there is a
// cluster yet is told by Ready. ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Network == nil {
		cfg.Network = tcp{}
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	id := make([]byte, 4)
	rand.Read(id)
	n := &Node{cfg: cfg, log: cfg.Logger, incarnation: hex.EncodeToString(id), holds: newHoldings()}
	n.contact.opened = n.awake.Now()
	n.ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.compose()
	if err := n.open(ctx); err != nil {
		n.stop()
		return nil, errors.Join(fmt.Errorf("open node %q: %w", cfg.Name, err), n.release())
	}
	n.start()
	return n, nil
}

// compose builds the parts that need nothing from outside.
func (n *Node) compose() {
	n.machine, n.fanout, n.hints = newMachine(func() time.Time { return n.contact.led(n.awake.Now()) }), newFanout(n.cfg.Sink), newHints()
	n.machine.check = n.cfg.CheckSpeculation
	n.keys = newKeys(n.cfg.ClusterKey, n.cfg.OldKeys)
	n.forward = newForwarder(n.findRoute, n.cfg.ResendAfter, n.cfg.MaxWaiting)
	n.forward.remembers = func(cmd fsm.Command) bool { return n.View().Remembers(cmd) }
	n.machine.onResults, n.machine.fatal, n.machine.onApplied = n.forward.answer, n.fatal, n.cfg.OnApplied
	n.machine.onEffects = func(effects []fsm.Effect) {
		n.fanout.push(effects)
		if n.current.Load() != nil {
			n.hints.note(effects)
		}
	}
	n.restored = make(chan struct{}, 1)
	n.machine.onRestore = func() {
		signal(n.restored)
		n.forward.resendAll()
		n.fanout.pushReset()
	}
	n.pastCalls = make(chan struct{}, maxPastCalls)
	n.server = &peerServer{node: n, conns: map[*frameConn]struct{}{}}
}

// open takes the directory, the ports and Raft, in that order.
func (n *Node) open(ctx context.Context) (err error) {
	if n.storage, err = openStorage(&n.cfg, n.log.Named("raft")); err != nil {
		return err
	}
	n.openHistory()
	if err := n.storage.watch(n.cfg.DataDir, n.cfg.Disk, n.fatal); err != nil {
		return err
	}
	ln, err := n.cfg.Network.Listen(n.cfg.PeerListen)
	if err != nil {
		return err
	}
	n.port = newPeerPort(ln, n.cfg.PeerAdvertise, n.cfg.Network, n.keys, n.log)
	n.port.onPeer = n.servePeer
	n.peers = newPeers(n.port, &limpetv1.PeerHello{Node: n.cfg.Name, Version: n.cfg.Version}, n.onRefused, func() { signal(n.forward.wake) })
	n.transport = newRaftTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.port, MaxPool: 3, Timeout: 10 * time.Second, Logger: n.log.Named("raft"), MsgpackUseNewTimeFormat: true,
	}), &n.acks, n.holds, n.storage.abandoned(), n.cfg.Raft.Election, n.port.hangUp)
	if n.raft, err = openRaft(&n.cfg, n.storage, n.machine, n.transport, n.log.Named("raft")); err != nil {
		return err
	}
	n.transport.follow(n.raft)
	leads := func() bool { return n.raft.State() == raft.Leader }
	n.storage.guard.leads.Store(&leads)
	meta := &limpetv1.GossipMeta{
		Role: roleNode, PeerAddr: n.port.Addr().String(), GrpcAddr: n.cfg.GRPCAddr, HttpAddr: n.cfg.HTTPAddr,
		Version: n.cfg.Version, BootstrapExpect: int32(n.cfg.BootstrapExpect),
		ClusterId: n.View().ClusterID(), HasState: n.hasState(),
	}
	if n.gossip, err = openGossip(ctx, &n.cfg, n.keys, meta, n.log.Named("gossip")); err != nil {
		return err
	}
	n.formation = &formation{name: n.cfg.Name, expect: n.cfg.BootstrapExpect, table: n.gossip.table, log: n.log, hasState: n.hasState}
	return nil
}

// start runs the node's goroutines; DESIGN.md lists them.
func (n *Node) start() {
	n.wg.Go(n.port.serve)
	for _, run := range []func(context.Context){
		n.fanout.run, n.forward.run, n.lead, n.gossip.join, n.form, n.vouch, n.greet, n.disown, n.watchContact, n.watchLeader, n.tend, n.snapshots,
	} {
		n.wg.Go(func() { run(n.ctx) })
	}
}

// Close stops the node for a restart: a leader hands over first, and the node
// stays a member. Commands that wait end with ErrUnavailable. A second call does
// nothing.
func (n *Node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() {
		if n.raft.State() == raft.Leader && len(n.servers()) > 1 && !n.storage.given() {
			n.handOver(ctx)
		}
		n.closeErr = n.shutdown()
	})
	return n.closeErr
}

func (n *Node) handOver(ctx context.Context) {
	if err := n.abdicate(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("hand over leadership; the others will elect", "error", err)
	}
}

// abdicate asks Raft to hand leadership over and waits until this node does not
// lead. Raft's own future is not waited for: it is never answered if Raft is
// shut down before it has looked at it.
func (n *Node) abdicate(ctx context.Context) error {
	n.raft.LeadershipTransfer()
	tick := time.NewTicker(abdicateTick)
	defer tick.Stop()
	limit := time.NewTimer(2 * n.cfg.Raft.Election) // a transfer gives up after one
	defer limit.Stop()
	for n.raft.State() == raft.Leader {
		select {
		case <-tick.C:
		case <-limit.C:
			return errors.New("no other node took over in time")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Kill stops the node as a crash would: it hands nothing over and says nothing.
// For simulations.
func (n *Node) Kill() error {
	n.closeOnce.Do(func() { n.closeErr = n.shutdown() })
	return n.closeErr
}

// shutdown stops everything at once and waits.
func (n *Node) shutdown() error {
	n.forward.close()
	n.stop()
	err := n.release()
	if !n.storage.given() { // else some of them may hang in the disk
		n.wg.Wait()
	}
	return errors.Join(err, n.closeStores())
}

// closeStores closes what lies on the disk, and waits for it unless the disk is
// given up: then it may hang there.
func (n *Node) closeStores() error {
	done := make(chan error, 1)
	go func() {
		var err error
		if n.history != nil {
			err = n.history.Close()
		}
		if !n.storage.given() {
			err = errors.Join(err, n.storage.close())
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-n.storage.abandoned():
		return nil
	}
}

// stopRaft ends Raft and waits for it, unless its disk is given up: then it may
// hang in a write for ever.
func (n *Node) stopRaft() error {
	ended, shutdown := make(chan error, 1), n.raft.Shutdown()
	n.port.endRaft()
	go func() { ended <- shutdown.Error() }()
	select {
	case err := <-ended:
		return err
	case <-n.storage.abandoned():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(n.cfg.Disk.WriteDeadline):
		return nil // the reason was given to Fatal
	}
}

// release gives back what open took, but the storage, which goes last.
func (n *Node) release() (err error) {
	if n.raft != nil {
		err = n.stopRaft() // fails the futures that goroutines wait for
	}
	if n.transport != nil {
		err = errors.Join(err, n.transport.Close())
		n.transport.CloseStreams()
	}
	if n.gossip != nil {
		err = errors.Join(err, n.gossip.close())
	}
	if n.peers != nil {
		n.peers.close()
	}
	if n.port != nil {
		n.port.shutdown()
	}
	if n.gossip == nil && n.storage != nil { // open failed half way
		err = errors.Join(err, n.closeStores())
	}
	return err
}

// Name is the node's id.
func (n *Node) Name() fsm.NodeID { return fsm.NodeID(n.cfg.Name) }

// GossipAddr is where other nodes can join this one.
func (n *Node) GossipAddr() string { return n.gossip.list.LocalNode().Address() }

// Incarnation is a text of 8 hex digits that is new at each Open.
func (n *Node) Incarnation() string { return n.incarnation }

// View is this node's applied state, now.
func (n *Node) View() fsm.View { return n.machine.state().view }

// Vouch notes that a worker was heard of at this node. It never blocks.
func (n *Node) Vouch(worker fsm.WorkerID) { n.vouchers.note(worker, time.Now()) }

// Propose hands a command to the leader, wherever that is, and answers when this
// node has applied it. It fills in the command's request id if it has none. While
// there is no leader it waits, until ctx ends. A refusal is in the Result. The
// error wraps ErrUnavailable when the outcome is unknown, and ErrOverloaded or
// ErrClosed when nothing was done.
func (n *Node) Propose(ctx context.Context, cmd fsm.Command) (fsm.Result, error) {
	return n.forward.propose(ctx, forever, cmd)
}

// ProposeWithin is Propose, but waits for no longer than hold, or than the longest hold
// of those that wait for the same command. It costs less than a context with a timeout.
func (n *Node) ProposeWithin(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error) {
	return n.forward.propose(ctx, hold, cmd)
}

// Ready says whether calls can be served, and if not, why.
func (n *Node) Ready() (bool, string) {
	switch {
	case n.ctx.Err() != nil:
		return false, ErrClosed.Error()
	case n.formation.waitsFor() != "":
		return false, n.formation.waitsFor()
	case n.Outside() != "":
		return false, n.Outside()
	case n.contact.isolated.Load() || n.contact.last.Load() == nil:
		return false, "no contact with a leader"
	case n.View().ClusterID() == "" && n.cfg.BootstrapCommand != nil:
		return false, "this node has not applied the cluster's first command yet: it waits for the leader's log"
	}
	return true, ""
}

// fatal stops the node for good; the machine has stopped already.
func (n *Node) fatal(err error) {
	n.fatalOnce.Do(func() {
		n.log.Error("this node cannot go on", "error", err)
		if n.cfg.Fatal == nil {
			panic(err)
		}
		n.cfg.Fatal(err)
	})
}

// Leading reports whether this node does the leader's duties now.
func (n *Node) Leading() bool { return n.current.Load() != nil }
