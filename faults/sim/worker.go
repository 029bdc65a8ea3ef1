package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/session"
)

const (
	heartbeatEvery = time.Second
	// streamPatience is how long a stream over a cut way lives: the keepalive.
	streamPatience = 3
	// connectPatience is how long a worker waits for a node before it turns to
	// another one.
	connectPatience = time.Second
)

// worker is a machine on which a worker program is kept running.
type worker struct {
	world    *world
	host     string // on the network
	identity string // empty for none
	slots    int

	mu   sync.Mutex
	life *incarnation // the newest process
	born int
	old  []*incarnation // frozen ones that others have replaced
}

// incarnation is one process.
type incarnation struct {
	*worker
	name string
	ctx  context.Context //nolint:containedctx // the process
	kill context.CancelFunc

	mu     sync.Mutex
	id     string
	frozen chan struct{} // closed by the thaw; nil if it is not frozen
	known  map[attempt]bool
	bodies map[attempt]context.CancelFunc
}

type attempt struct {
	task   string
	number int32
}

// boot starts the program.
func (k *worker) boot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != nil {
		return
	}
	k.born++
	in := &incarnation{worker: k, name: fmt.Sprintf("%s-%d", k.host, k.born), known: map[attempt]bool{}, bodies: map[attempt]context.CancelFunc{}}
	in.ctx, in.kill = context.WithCancel(k.world.ctx)
	k.life = in
	k.world.background.Go(in.run)
}

// crash ends it at once.
func (k *worker) crash() {
	k.mu.Lock()
	in := k.life
	k.life = nil
	k.mu.Unlock()
	if in != nil {
		in.die()
	}
}

func (in *incarnation) die() {
	in.thaw()
	in.kill()
	in.world.rec.Add(history.Event{Kind: history.WorkerStop, Worker: in.workerID(), Incarnation: in.name})
}

// supplant starts another process of the same identity while the first is
// frozen; when that thaws, it is a zombie.
func (k *worker) supplant() {
	k.mu.Lock()
	in := k.life
	k.life = nil
	if in != nil {
		k.old = append(k.old, in)
	}
	k.mu.Unlock()
	if in != nil {
		in.freeze()
	}
	k.boot()
}

func (k *worker) freeze(on bool) {
	k.mu.Lock()
	in, old := k.life, k.old
	if !on {
		k.old = nil
	}
	k.mu.Unlock()
	if in != nil && on {
		in.freeze()
	}
	if !on {
		for _, o := range append(old, in) {
			if o != nil {
				o.thaw()
			}
		}
	}
}

func (in *incarnation) freeze() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.frozen == nil {
		in.frozen = make(chan struct{})
		in.world.rec.Add(history.Event{Kind: history.WorkerFreeze, Worker: in.id, Incarnation: in.name})
	}
}

func (in *incarnation) thaw() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.frozen != nil {
		close(in.frozen)
		in.frozen = nil
		in.world.rec.Add(history.Event{Kind: history.WorkerThaw, Worker: in.id, Incarnation: in.name})
	}
}

// gate holds a frozen process; false when it is dead.
func (in *incarnation) gate() bool {
	for {
		in.mu.Lock()
		frozen := in.frozen
		in.mu.Unlock()
		if frozen == nil || in.ctx.Err() != nil {
			return in.ctx.Err() == nil
		}
		select {
		case <-frozen:
		case <-in.ctx.Done():
		}
	}
}

func (in *incarnation) workerID() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.id
}

// run is the main loop of the program: register, listen, and again.
func (in *incarnation) run() {
	for in.gate() {
		node := in.world.anyNode()
		var err error
		if in.workerID() == "" {
			err = in.register(node)
		} else {
			err = in.listen(node)
		}
		var no *fsm.Refusal
		switch {
		case errors.As(err, &no) && no.Code == fsm.CodeFenced:
			in.superseded()
			return
		case errors.As(err, &no) && no.Code == fsm.CodeNotFound:
			in.mu.Lock()
			in.id = ""
			in.mu.Unlock()
		}
		if err != nil && pause(in.ctx, in.world.between(50*time.Millisecond, 400*time.Millisecond)) != nil {
			return
		}
	}
}

// superseded stops a process whose place another one has taken.
func (in *incarnation) superseded() {
	in.worker.mu.Lock()
	mine := in.life == in
	if mine {
		in.life = nil
	}
	in.worker.mu.Unlock()
	in.die()
}

func (in *incarnation) register(node string) error {
	ctx, cancel := context.WithTimeout(in.ctx, 5*time.Second)
	defer cancel()
	cmd := &limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
		TenantId: tenant, WorkerId: in.world.uuid(), Name: in.host, Actions: actions(), Sdk: "GO",
		Slots:    []*limpetv1.SlotRequest{{Type: "default", Units: int32(in.slots)}},
		Identity: in.identity, Incarnation: in.name,
	}}}
	return in.world.call(ctx, in.host, node, func(ctx context.Context, p *process) error {
		res, err := p.node.Propose(ctx, cmd)
		if err != nil {
			return err
		}
		if res.Refusal != nil {
			return res.Refusal
		}
		in.mu.Lock()
		in.id = res.IDs[0]
		in.mu.Unlock()
		in.world.rec.Add(history.Event{Kind: history.WorkerStart, Worker: res.IDs[0], Incarnation: in.name, Slots: in.slots})
		return nil
	})
}

// listen holds one stream until it ends.
func (in *incarnation) listen(node string) error {
	ctx, cancel := context.WithCancel(in.ctx)
	defer cancel()
	connect, stop := context.WithTimeout(ctx, connectPatience)
	err := in.world.net.cross(connect, way{in.host, node})
	stop()
	if err != nil {
		return err
	}
	p := in.world.proc(node)
	if p == nil || !p.enter() {
		return errDown
	}
	defer p.leave()
	defer context.AfterFunc(p.life, cancel)()
	orders := make(chan *compat.AssignedAction, 1024)
	ended := make(chan error, 1)
	var parts sync.WaitGroup
	parts.Go(func() {
		ended <- p.hub.Serve(ctx, session.Stream{
			Worker: fsm.WorkerID(in.workerID()), Incarnation: in.name,
			Send: func(a *compat.AssignedAction) error {
				select {
				case orders <- a:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			Opened: func() {
				in.world.rec.Add(history.Event{Kind: history.WorkerAttach, Worker: in.workerID(), Incarnation: in.name, Node: node})
			},
		})
	})
	parts.Go(func() { in.beat(ctx, p) })
	parts.Go(func() {
		in.keepalive(ctx, node)
		cancel()
	})
	parts.Go(func() { in.receive(ctx, node, orders) })
	err = <-ended
	in.world.rec.Add(history.Event{Kind: history.WorkerDetach, Worker: in.workerID(), Incarnation: in.name, Node: node})
	cancel()
	parts.Wait()
	return err
}

// beat sends heartbeats to the node while the stream is open.
func (in *incarnation) beat(ctx context.Context, p *process) {
	for in.gate() && ctx.Err() == nil {
		if in.world.net.cross(ctx, way{in.host, p.name}) != nil {
			return
		}
		if p.life.Err() == nil {
			p.node.Vouch(fsm.WorkerID(in.workerID()))
			in.world.tap.heartbeat(p.name, in.workerID())
		}
		if pause(ctx, heartbeatEvery) != nil {
			return
		}
	}
}

// keepalive returns when the way to the node has been cut for too long. The
// node's own keepalive does the same, at the same time.
func (in *incarnation) keepalive(ctx context.Context, node string) {
	for missed := 0; missed < streamPatience; {
		if pause(ctx, time.Second) != nil {
			return
		}
		missed++
		if in.world.net.open(way{in.host, node}) && in.world.net.open(way{node, in.host}) {
			missed = 0
		}
	}
}

func (in *incarnation) receive(ctx context.Context, node string, orders <-chan *compat.AssignedAction) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-orders:
			if in.world.net.cross(ctx, way{node, in.host}) != nil || !in.gate() || ctx.Err() != nil {
				return
			}
			in.order(node, a)
		}
	}
}

// order obeys what came down the stream. An attempt that is known is not
// started again.
func (in *incarnation) order(node string, a *compat.AssignedAction) {
	key := attempt{a.GetTaskRunExternalId(), a.GetRetryCount()}
	in.mu.Lock()
	defer in.mu.Unlock()
	if a.GetActionType() == compat.ActionType_CANCEL_STEP_RUN {
		if stop := in.bodies[key]; stop != nil {
			stop()
		}
		return
	}
	in.world.rec.Add(history.Event{
		Kind: history.Ordered, Node: node, Worker: in.id, Incarnation: in.name, Run: a.GetWorkflowRunId(), TaskRun: key.task, Attempt: key.number,
	})
	if in.known[key] {
		return
	}
	in.known[key] = true
	ctx, stop := context.WithCancel(in.ctx)
	in.bodies[key] = stop
	b := &body{incarnation: in, ctx: ctx, key: key, run: a.GetWorkflowRunId(), action: a.GetActionId(), worker: in.id}
	in.world.background.Go(func() {
		b.execute()
		stop()
		in.mu.Lock()
		delete(in.bodies, key)
		in.mu.Unlock()
	})
}

// body is one attempt in execution.
type body struct {
	*incarnation
	ctx    context.Context //nolint:containedctx // ends with an order to cancel
	key    attempt
	run    string
	action string
	worker string
}

func (b *body) event(kind history.Kind) history.Event {
	f, s := flowOf(b.action)
	return history.Event{
		Kind: kind, Worker: b.worker, Incarnation: b.name, Run: b.run, TaskRun: b.key.task, Task: s.name, Attempt: b.key.number, Strategy: f.strategy(),
	}
}

func (b *body) execute() {
	f, s := flowOf(b.action)
	w := b.world
	output := check.Output(b.key.task, b.key.number, b.worker)
	// As SDKs do: the body does not wait for the answer, and neither does its end.
	first := w.anyNode()
	w.background.Go(func() { b.report(history.OpStarted, "", first) })
	w.rec.Add(b.event(history.Begin))
	took := w.between(30*time.Millisecond, 1500*time.Millisecond)
	switch {
	case w.chance(0.06):
		took = w.between(2*time.Second, 9*time.Second)
	case w.chance(0.3): // short enough that a node may send its end only
		took = w.between(0, 12*time.Millisecond)
	}
	err := pause(b.ctx, took)
	if err == nil && f.child != "" && s.name == "a" && b.gate() {
		w.clients.spawn(b.ctx, b, f)
	}
	if !b.gate() || err != nil || b.ctx.Err() != nil {
		w.rec.Add(b.event(history.Cut))
		return
	}
	w.rec.Add(b.event(history.End))
	if pause(b.incarnation.ctx, 0) != nil {
		return
	}
	if w.chance(0.2) { // its worker has lost the connection
		first = w.anyNode()
	}
	if w.chance(s.flaky) {
		b.report(history.OpFailed, "", first)
		return
	}
	b.report(history.OpCompleted, output, first)
}

// report tells the cluster, through one node after the other from the given one, until
// one of them acknowledges.
func (b *body) report(op, output, node string) {
	e := b.event(history.Report)
	e.Op, e.Output = op, output
	b.world.rec.Add(e)
	id, remember := b.world.uuid(), b.world.chance(0.5)
	for b.gate() {
		ctx, cancel := context.WithTimeout(b.incarnation.ctx, 4*time.Second)
		status := ""
		err := b.world.call(ctx, b.host, node, func(ctx context.Context, p *process) error {
			cmd := b.command(op, output)
			if remember {
				cmd.RequestId, cmd.Remember = []byte(id), true
			}
			res, err := p.node.Propose(ctx, cmd)
			switch {
			case err != nil:
				return err
			case res.Refusal != nil:
				status = history.Fenced
			case !res.Ignored:
				status = history.Accepted
			}
			return nil
		})
		cancel()
		if err == nil {
			e := b.event(history.Reported)
			e.Op, e.Status = op, status
			b.world.rec.Add(e)
			return
		}
		if pause(b.incarnation.ctx, b.world.between(100*time.Millisecond, 500*time.Millisecond)) != nil {
			return
		}
		node = b.world.anyNode()
	}
}

func (b *body) command(op, output string) *limpetv1.Command {
	switch op {
	case history.OpStarted:
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportStarted{ReportStarted: &limpetv1.ReportStarted{
			TenantId: tenant, TaskRunId: b.key.task, Attempt: b.key.number,
		}}}
	case history.OpFailed:
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportFailed{ReportFailed: &limpetv1.ReportFailed{
			TenantId: tenant, TaskRunId: b.key.task, Attempt: b.key.number, Error: "it failed by chance",
		}}}
	default:
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
			TenantId: tenant, TaskRunId: b.key.task, Attempt: b.key.number, Output: []byte(output),
		}}}
	}
}
