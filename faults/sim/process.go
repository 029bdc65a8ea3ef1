package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/scheduler"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/session"
)

const tenant = "707d0855-80ab-4e1f-a156-f1c4546cbf52"

// The cluster's figures. Leases and timeouts are shorter than by default so
// that a scenario of a minute has room for many of their ends.
const (
	leaseTTL        = 5 * time.Second
	leaseGrace      = 2 * time.Second
	scheduleTimeout = 15 * time.Second
	executeTimeout  = 6 * time.Second
	deliveryTimeout = 8 * time.Second
	softPatience    = 500 * time.Millisecond
)

// process is one life of a node.
type process struct {
	name string
	port *port
	disk *openDisk
	node *cluster.Node
	hub  *session.Hub
	life context.Context //nolint:containedctx // ends with the process
	end  context.CancelFunc

	mu    sync.Mutex
	dead  bool
	calls sync.WaitGroup // that are inside
}

// enter lets a call in; it must leave.
func (p *process) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		p.calls.Add(1)
	}
	return !p.dead
}

func (p *process) leave() { p.calls.Done() }

// close lets no more calls in, ends those inside and waits for them.
func (p *process) close() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.end()
	p.calls.Wait()
}

// backend is the node as transport wants it.
type backend struct{ *cluster.Node }

// ClusterStatus implements transport.Backend; nobody in a simulation asks.
func (backend) ClusterStatus(context.Context) (transport.ClusterStatus, error) {
	return transport.ClusterStatus{}, errors.ErrUnsupported
}

// hubSink breaks the circle between the node, which needs a sink, and the hub,
// which needs the node.
type hubSink struct {
	ready    chan struct{}
	hub      *session.Hub
	restored func()
}

// Wake implements cluster.Sink.
func (s *hubSink) Wake(effects []fsm.Effect) {
	<-s.ready
	s.hub.Wake(effects)
}

// Reset implements cluster.Sink.
func (s *hubSink) Reset() {
	<-s.ready
	s.restored()
	s.hub.Reset()
}

// start begins a life of a node, on what it had kept.
func (w *world) start(name string) error {
	defer w.turn(name)()
	w.mu.Lock()
	if w.procs[name] != nil || w.ctx.Err() != nil {
		w.mu.Unlock()
		return nil
	}
	d := w.disks[name]
	if d == nil {
		d = newDisk()
		w.disks[name] = d
	}
	w.mu.Unlock()
	p := &process{name: name, port: w.net.attach(name)}
	p.life, p.end = context.WithCancel(w.ctx)
	p.disk = d.open(func(l *raft.Log) { w.tap.wrote(name, l) })
	sink := &hubSink{ready: make(chan struct{}), restored: func() { w.tap.restored(name) }}
	cfg := w.config(p)
	cfg.Sink = sink
	cfg.OnIsolated = func(isolated bool) {
		<-sink.ready
		sink.hub.SetIsolated(isolated)
	}
	var n *cluster.Node
	logs, err := p.disk.journal()
	if err == nil {
		cfg.Stores = &cluster.Stores{Logs: logs, Stable: p.disk, Snapshots: p.disk}
		n, err = cluster.Open(w.ctx, cfg)
	}
	if err != nil {
		p.port.drop()
		p.end()
		p.disk.cutPower(false)
		return fmt.Errorf("start %s: %w", name, err)
	}
	p.node = n
	p.hub = session.NewHub(session.Config{Backend: backend{n}, Counters: transport.NewCounters(), Logger: cfg.Logger})
	sink.hub = p.hub
	close(sink.ready)
	w.rec.Add(history.Event{Kind: history.NodeStart, Node: name, Incarnation: n.Incarnation()})
	w.mu.Lock()
	w.procs[name] = p
	w.mu.Unlock()
	return nil
}

func (w *world) config(p *process) cluster.Config {
	cfg := cluster.DefaultConfig()
	cfg.Name, cfg.Dev, cfg.Version = p.name, true, "sim"
	cfg.ClusterKey = []byte("0123456789abcdef")
	cfg.PeerListen, cfg.GossipListen = addrOf(p.name, servePeers), addrOf(p.name, serveGossip)
	cfg.Network = hostNet{p.port}
	if slices.Contains(w.founders, p.name) {
		cfg.BootstrapExpect = len(w.founders)
	}
	for _, o := range w.founders {
		if o != p.name {
			cfg.Join = append(cfg.Join, addrOf(o, serveGossip))
		}
	}
	cfg.Decide = scheduler.Decide
	cfg.CheckSpeculation = w.plan.Seed%2 == 0 // the others take over what was speculated
	cfg.BootstrapCommand = bootstrap
	cfg.Wall = func() time.Time { return w.tap.wall(p.name) }
	cfg.OnApplied = func(index, term uint64, e *fsm.Entry, v fsm.View) { w.tap.applied(p.name, index, term, e, v) }
	cfg.Fatal = func(err error) {
		if !errors.Is(err, cluster.ErrDisk) {
			w.fail("node %s: %v", p.name, err)
			return
		}
		// The program would end; whoever mends the disk starts it again.
		w.background.Go(func() {
			if w.proc(p.name) == p {
				w.crash(p.name, false)
			}
		})
	}
	cfg.Lease = cluster.LeaseConfig{TTL: leaseTTL, Grace: leaseGrace}
	w.plan.tune(&cfg.Raft)
	cfg.Logger = hclog.NewNullLogger()
	if w.log != nil {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: p.name, Level: hclog.Debug, Output: w.log, TimeFn: time.Now})
	}
	return cfg
}

func bootstrap() fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
		TenantId: tenant, TenantName: "default", ClusterId: "cluster-under-test", KeyId: "key-1", Key: []byte("not a real key"),
		Settings: &limpetv1.Settings{
			SoftPatience: int64(softPatience), ScheduleTimeout: int64(scheduleTimeout),
			ExecutionTimeout: int64(executeTimeout), DeliveryTimeout: int64(deliveryTimeout),
		},
	}}}
}

// crash ends a life without a word. A write that is under way is kept or lost.
func (w *world) crash(name string, keep bool) {
	w.mu.Lock()
	p := w.procs[name]
	delete(w.procs, name)
	w.mu.Unlock()
	if p == nil {
		return
	}
	p.port.drop()
	p.disk.cutPower(keep)
	p.end()
	w.rec.Add(history.Event{Kind: history.NodeStop, Node: name})
	w.background.Go(func() { w.bury(p) })
	// What is left of the process may go on for a moment, unseen.
}

// bury waits for what is left of a process.
func (w *world) bury(p *process) {
	p.close()
	_ = p.node.Kill() // the disk is gone: whatever it says
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.hub.Close(ctx)
}

// turn keeps a node from being started and stopped at the same time; what it
// gives ends the turn.
func (w *world) turn(name string) func() {
	w.mu.Lock()
	c := w.turns[name]
	if c == nil {
		c = make(chan struct{}, 1)
		w.turns[name] = c
	}
	w.mu.Unlock()
	c <- struct{}{}
	return func() { <-c }
}

// stop ends a life with a goodbye, as an operator does.
func (w *world) stop(name string) {
	defer w.turn(name)()
	w.mu.Lock()
	p := w.procs[name]
	delete(w.procs, name)
	w.mu.Unlock()
	if p == nil {
		return
	}
	p.hub.Shutdown("the node stops")
	p.close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = p.hub.Close(ctx)
	_ = p.node.Close(ctx)
	p.port.drop()
	p.disk.cutPower(true)
	w.rec.Add(history.Event{Kind: history.NodeStop, Node: name})
}

// proc is the life of a node that can be called now; nil if it is down.
func (w *world) proc(name string) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.procs[name]
}
