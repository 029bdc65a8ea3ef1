package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	lifeTenant = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
	lifeWorker = 1
)

// firstFit gives every queued task run to the one worker there is.
func firstFit(d *fsm.Draft) {
	v := d.View()
	var out []fsm.Command
	w, ok := v.Worker(workerID(lifeWorker))
	if !ok || w.Lease.State != fsm.LeaseLive {
		return
	}
	for r := range v.Runs(false) {
		for _, id := range r.Tasks {
			if t, ok := v.TaskRun(id); ok && t.Status == fsm.Queued {
				out = append(out, fsm.NewAssign(t, w, "TEST", false))
			}
		}
	}
	d.Add(out...)
}

// life is what the model knows of a run of one task.
type life struct {
	id      string
	status  fsm.Status
	attempt int32
}

func TestReplaysAndCancelsUnderALeaderKill(t *testing.T) {
	b := newBed(t, 3, func(c *Config) { c.Decide, c.CheckSpeculation = firstFit, true })
	b.start(b.names...)
	b.awaitReady()
	stage(t, b.leader())
	nodes := &nodeSet{nodes: map[string]*Node{}}
	for _, name := range b.names {
		nodes.put(name, b.nodes[name])
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	vouch := make(chan struct{})
	go func() {
		defer close(vouch)
		for ctx.Err() == nil {
			nodes.each(func(n *Node) { n.Vouch(workerID(lifeWorker)) })
			time.Sleep(200 * time.Millisecond)
		}
	}()
	lives := make([]*life, 40)
	var all sync.WaitGroup
	for i := range lives {
		lives[i] = &life{id: fmt.Sprintf("00000000-0000-7000-9000-%012d", i)}
		all.Go(func() { live(t, nodes, lives[i], rand.New(rand.NewPCG(uint64(i), 3))) })
	}
	for kill := range 2 {
		time.Sleep(300 * time.Millisecond)
		name := string(b.leader().Name())
		nodes.put(name, nil)
		b.kill(name)
		// The worker's stream comes back at a node that is up.
		n := b.leader()
		propose(t, n, attach(n, fmt.Sprintf("session-%d", kill+1)))
		time.Sleep(300 * time.Millisecond)
		b.start(name)
		b.awaitReady()
		nodes.put(name, b.nodes[name])
	}
	all.Wait()
	stop()
	<-vouch
	b.awaitEqual(3)
	for _, l := range lives {
		for name, n := range b.nodes {
			task, ok := n.View().TaskRun(fsm.TaskRunID(l.id))
			if !ok || task.Status != l.status || task.Attempt != l.attempt {
				t.Errorf("at %s run %s is %+v, the model says %s at attempt %d", name, l.id, task, l.status, l.attempt)
			}
		}
	}
}

// stage registers the workflow and the worker.
func stage(t *testing.T, n *Node) {
	t.Helper()
	def, err := proto.Marshal(&limpetv1.WorkflowDefinition{
		Name: "life", Sticky: limpetv1.Strategy_STRATEGY_HARD,
		Tasks: []*limpetv1.TaskDefinition{{Name: "b", Action: "a:b", ScheduleTimeout: int64(time.Hour), ExecutionTimeout: int64(time.Hour)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	worker := register(lifeWorker)
	worker.GetRegisterWorker().Slots[0].Units = 1000
	for _, c := range []fsm.Command{
		{Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
			TenantId: lifeTenant, WorkflowId: "00000000-0000-7000-8000-aaaaaaaaaaaa", VersionId: "00000000-0000-7000-8000-bbbbbbbbbbbb", Definition: def,
		}}},
		worker,
		attach(n, "session-0"),
	} {
		if r := propose(t, n, c); r.Refusal != nil {
			t.Fatal(r.Refusal)
		}
	}
}

func attach(n *Node, session string) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{
		WorkerId: string(workerID(lifeWorker)), Node: string(n.Name()), Session: session,
	}}}
}

// live takes one run through a random life, each step at a random node, and
// keeps what the run has to be after it.
func live(t *testing.T, nodes *nodeSet, l *life, random *rand.Rand) {
	t.Helper()
	step := func(c fsm.Command) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return nodes.propose(ctx, random, c)
	}
	ids := []string{l.id}
	err := step(&limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
		TenantId: lifeTenant, Runs: []*limpetv1.RunSpec{{RunId: l.id, Workflow: "life", Input: []byte("{}")}},
	}}})
	for i := 0; err == nil && i < 12; i++ {
		switch verb := random.IntN(4); {
		case verb == 0 && !l.status.Final():
			l.status = fsm.Cancelled
			err = step(&limpetv1.Command{Kind: &limpetv1.Command_CancelTasks{CancelTasks: &limpetv1.CancelTasks{TenantId: lifeTenant, Ids: ids}}})
		case verb == 1 && !l.status.Final():
			l.status = fsm.Completed
			err = step(&limpetv1.Command{Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
				TenantId: lifeTenant, TaskRunId: l.id, Attempt: l.attempt, Output: []byte("{}"),
			}}})
		case verb == 2 && !l.status.Final():
			l.status = fsm.Failed
			err = step(&limpetv1.Command{Kind: &limpetv1.Command_ReportFailed{ReportFailed: &limpetv1.ReportFailed{
				TenantId: lifeTenant, TaskRunId: l.id, Attempt: l.attempt, Error: "boom",
			}}})
		default: // of what runs, too: it is discarded and begins again
			l.status = fsm.Assigned
			l.attempt++
			err = step(&limpetv1.Command{Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{TenantId: lifeTenant, Ids: ids}}})
		}
		if err == nil && !l.status.Final() {
			err = nodes.awaitAssigned(t.Context(), l)
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
	}
	if err != nil {
		t.Errorf("run %s: %v", l.id, err)
	}
	if !l.status.Final() {
		l.status = fsm.Assigned
	}
}

// nodeSet is the nodes that are up.
type nodeSet struct {
	mu    sync.Mutex
	nodes map[string]*Node
}

func (s *nodeSet) put(name string, n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == nil {
		delete(s.nodes, name)
	} else {
		s.nodes[name] = n
	}
}

func (s *nodeSet) each(visit func(*Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		visit(n)
	}
}

// awaitAssigned returns when the run's task is with the worker. Between two streams
// of the worker it is queued, and what is queued has no attempt that a replay would
// have to end: the model would count one too many.
func (s *nodeSet) awaitAssigned(ctx context.Context, l *life) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		found := false
		s.each(func(n *Node) {
			task, ok := n.View().TaskRun(fsm.TaskRunID(l.id))
			found = found || ok && task.Status == fsm.Assigned && task.Attempt == l.attempt
		})
		if found {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for attempt %d to be assigned: %w", l.attempt, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// propose asks a random node, and, when that one dies, another with the same
// command: the same request.
func (s *nodeSet) propose(ctx context.Context, random *rand.Rand, c fsm.Command) error {
	for {
		var up []*Node
		s.each(func(n *Node) { up = append(up, n) })
		r, err := up[random.IntN(len(up))].Propose(ctx, c)
		switch {
		case err == nil && r.Refusal != nil && r.Refusal.Code == fsm.CodeStale && strings.Contains(r.Refusal.Want, "QUEUED"):
			// A report before the assignment: the worker is between two streams.
			c = &limpetv1.Command{Kind: c.GetKind()}
		case err == nil && r.Refusal != nil:
			return r.Refusal
		case err == nil || ctx.Err() != nil:
			return err
		case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrClosed):
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
