package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// clients are those who call, each call from a host of its own. They remember
// the runs that they know of.
type clients struct {
	world *world

	mu      sync.Mutex
	count   int
	runs    []string
	events  []string
	waiting map[string]bool // client/run
}

func (c *clients) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return fmt.Sprintf("call-%d", c.count)
}

func (c *clients) learn(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, run)
}

// pushed are the ids of all events.
func (c *clients) pushed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// some gives a run to do something with; the newest are the likeliest.
func (c *clients) some() string {
	c.mu.Lock()
	n := len(c.runs)
	c.mu.Unlock()
	if n == 0 {
		return ""
	}
	i := n - 1 - c.world.pick(min(n, 8))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[i]
}

// command makes a call that is one command: it is repeated at other nodes,
// with the same request id, while its outcome is unknown.
func (c *clients) command(ctx context.Context, host string, e history.Event, build func() *limpetv1.Command) (fsm.Result, bool) {
	w := c.world
	if e.Client = host; e.Call == "" {
		e.Call = c.next()
	}
	e.Kind = history.Invoke
	w.rec.Add(e)
	id := w.uuid()
	var res fsm.Result
	var no error    // the last answer that nothing was done
	unsure := false // whether a try may have been taken whose answer is not known
	for range 6 {
		try, cancel := context.WithTimeout(ctx, w.between(time.Second, 5*time.Second))
		err := w.call(try, host, w.anyNode(), func(ctx context.Context, p *process) error {
			cmd := build()
			cmd.RequestId, cmd.Remember = []byte(id), true
			got, err := p.node.Propose(ctx, cmd)
			res = got
			return err
		})
		cancel()
		if err == nil {
			break
		}
		res = fsm.Result{}
		no, unsure = err, unsure || !errors.Is(err, cluster.ErrOverloaded)
		if pause(ctx, w.between(50*time.Millisecond, 500*time.Millisecond)) != nil {
			break
		}
	}
	switch {
	case res.Refusal != nil && (!unsure || !passing(res.Refusal)):
		e.Kind, e.Detail = history.Refused, res.Refusal.Error()
	case res.Seq == 0 && no != nil && !unsure:
		e.Kind, e.Detail = history.Refused, no.Error()
	case res.Seq == 0 || res.Refusal != nil:
		e.Kind = history.Unknown
	default:
		e.Kind = history.OK
		if e.Op == history.OpTrigger {
			e.Run = res.IDs[0]
		}
	}
	w.rec.Add(e)
	return res, e.Kind == history.OK
}

// passing reports whether the state forgets that it refused: an earlier try that
// is still under way may be taken.
func passing(no *fsm.Refusal) bool { return no.Code == fsm.CodeBusy || no.Code == fsm.CodeExhausted }

// trigger starts a run and, if it is told so, waits for its result beside. The
// call's name travels in the input, so that a run that it made twice is found.
func (c *clients) trigger(ctx context.Context, host, workflow, parent, parentTask, desired string) (run string, ok bool) {
	name := c.world.uuid()
	res, ok := c.command(ctx, host, history.Event{Op: history.OpTrigger, Task: workflow, Call: name}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
			TenantId: tenant, Runs: []*limpetv1.RunSpec{{
				RunId: c.world.uuid(), Workflow: workflow, Input: []byte(`{"call":"` + name + `"}`),
				ParentRunId: parent, ParentTaskRunId: parentTask, DesiredWorker: desired,
			}},
		}}}
	})
	if !ok {
		return "", false
	}
	c.learn(res.IDs[0])
	return res.IDs[0], true
}

// spawn is what a parent's body does: it triggers the child and waits for it.
func (c *clients) spawn(ctx context.Context, b *body, f flow) {
	desired := ""
	if f.desired {
		desired = b.worker
	}
	run, ok := c.trigger(ctx, b.host, f.child, b.run, b.key.task, desired)
	if ok {
		_ = c.await(ctx, b.host, run)
	}
}

// subscribe waits for a result, until the scenario ends.
func (c *clients) subscribe(host, run string) {
	c.mu.Lock()
	key := host + "/" + run
	again := c.waiting[key]
	c.waiting[key] = true
	c.mu.Unlock()
	if again {
		return
	}
	c.world.rec.Add(history.Event{Kind: history.Subscribed, Client: host, Run: run})
	c.world.background.Go(func() {
		_ = c.await(c.world.ctx, host, run)
	})
}

// await waits at one node after the other for the end of a run.
func (c *clients) await(ctx context.Context, host, run string) error {
	w := c.world
	for {
		node := w.anyNode()
		told := false
		patience, cancel := context.WithCancel(ctx)
		go func() { // the client's keepalive
			defer cancel()
			for missed := 0; missed < streamPatience; {
				if pause(patience, time.Second) != nil {
					return
				}
				missed++
				if w.net.open(way{host, node}) && w.net.open(way{node, host}) {
					missed = 0
				}
			}
		}()
		var e history.Event
		err := w.call(patience, host, node, func(ctx context.Context, p *process) error {
			r, view, err := watch(ctx, p, run)
			if err == nil {
				told = true
				e = history.Event{Kind: history.Delivered, Client: host, Run: run, Node: node, Status: r.Status.String(), Output: outcome(view, r)}
			}
			return err
		})
		cancel()
		if err == nil && told {
			w.rec.Add(e)
			return nil
		}
		if err := pause(ctx, w.between(50*time.Millisecond, 300*time.Millisecond)); err != nil {
			return err
		}
	}
}

// watch waits at a node, as its streams of results do.
func watch(ctx context.Context, p *process, run string) (*fsm.Run, fsm.View, error) {
	gate, err := p.hub.Admit()
	if err != nil {
		return nil, fsm.View{}, err
	}
	watcher := p.hub.Watch()
	defer watcher.Close()
	watcher.Add(fsm.RunID(run))
	for {
		view := p.node.View()
		if r, ok := view.Run(fsm.RunID(run)); ok && r.Status.Final() {
			return r, view, nil
		}
		select {
		case <-ctx.Done():
			return nil, view, ctx.Err()
		case <-gate.Done():
			return nil, view, gate.Err()
		case <-watcher.C():
			watcher.Changed()
		}
	}
}

// read asks a node for a run, linearizably.
func (c *clients) read(ctx context.Context, host, run string) {
	w := c.world
	e := history.Event{Kind: history.Invoke, Op: history.OpRead, Call: c.next(), Client: host, Run: run}
	w.rec.Add(e)
	try, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := w.call(try, host, w.anyNode(), func(ctx context.Context, p *process) error {
		if err := p.node.Barrier(ctx); err != nil {
			return err
		}
		if r, ok := p.node.View().Run(fsm.RunID(run)); ok {
			e.Status = r.Status.String()
		}
		return nil
	})
	if e.Kind = history.OK; err != nil {
		e.Kind, e.Status = history.Unknown, ""
	}
	w.rec.Add(e)
}

// event pushes an event.
func (c *clients) event(ctx context.Context, host, key string) {
	id := c.world.uuid()
	c.mu.Lock()
	c.events = append(c.events, id)
	c.mu.Unlock()
	c.command(ctx, host, history.Event{Op: history.OpEvent, Detail: id, Task: key}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: &limpetv1.PushEvents{
			TenantId: tenant, Events: []*limpetv1.Event{{Id: id, Key: key, Payload: []byte("{}")}},
		}}}
	})
}

func (c *clients) cancel(ctx context.Context, host, run string) {
	c.command(ctx, host, history.Event{Op: history.OpCancel, Run: run}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{TenantId: tenant, Ids: []string{run}}}}
	})
}

func (c *clients) replay(ctx context.Context, host, run string) {
	c.command(ctx, host, history.Event{Op: history.OpReplay, Run: run}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{TenantId: tenant, Ids: []string{run}}}}
	})
}

func (c *clients) release(ctx context.Context, host, run string) {
	c.command(ctx, host, history.Event{Op: history.OpRelease, Run: run}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{ReleasePin: &limpetv1.ReleasePin{TenantId: tenant, RunId: run, Reason: "a drill", Actor: "sim"}}}
	})
}

// mode drains, pauses or resumes a worker.
func (c *clients) mode(ctx context.Context, host, worker string, mode limpetv1.WorkerMode) {
	op := history.OpDrain
	if mode == limpetv1.WorkerMode_WORKER_MODE_ACTIVE {
		op = history.OpResume
	}
	c.command(ctx, host, history.Event{Op: op, Worker: worker}, func() *limpetv1.Command {
		return &limpetv1.Command{Kind: &limpetv1.Command_SetWorkerMode{SetWorkerMode: &limpetv1.SetWorkerMode{
			TenantId: tenant, WorkerId: worker, Mode: mode, Deadline: int64(10 * time.Second), Actor: "sim", Reason: "a drill",
		}}}
	})
}
