// Package transporttest is a bed for tests of the transport: nodes that listen
// in memory, on one state machine that is never out of step. It has real
// servers, sessions and tokens; only Raft is left out.
//
// Time stands still unless a test moves it with [Cluster.Advance].
package transporttest

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/expression"
	"github.com/limpet-dev/limpet/transport/auth"
)

// tick is how far each entry moves cluster time.
const tick = time.Millisecond

// Config is what a cluster is made of. The zero value is one node.
type Config struct {
	// Nodes is the number of nodes; 0 for one.
	Nodes int
	// Decide assigns; nil for [FirstFit].
	Decide func(fsm.View, fsm.Instant) []fsm.Command
	// MaxMessage is the limit of messages in bytes; 0 for the default.
	MaxMessage int
	// Hold is how long calls wait for a leader; 0 for the default.
	Hold time.Duration
	// RegisterHold is how long a registration waits for its identity; 0 for the
	// default.
	RegisterHold time.Duration
	// RedeliverAfter is how long a new session waits with what an earlier one may
	// have delivered; 0 for not at all.
	RedeliverAfter time.Duration
	// Logger is nil for silence.
	Logger hclog.Logger
}

// Cluster is the state machine and the nodes that listen for it.
type Cluster struct {
	// Nodes are the nodes, started.
	Nodes []*Node
	// Tenant is the tenant of the tokens.
	Tenant fsm.TenantID

	cfg Config

	mu       sync.Mutex
	machine  *fsm.Machine
	instant  fsm.Instant
	wall     time.Time
	requests uint64
	leader   chan struct{} // closed while there is a leader
	fenced   int
	history  []*fsm.Archived // what the machine has forgotten, oldest first
}

// New starts a cluster that ends with the test.
func New(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	if cfg.Nodes == 0 {
		cfg.Nodes = 1
	}
	if cfg.Decide == nil {
		cfg.Decide = FirstFit
	}
	if cfg.RedeliverAfter == 0 {
		cfg.RedeliverAfter = time.Nanosecond
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	c := &Cluster{
		Tenant: fsm.TenantID(uuid.NewString()), cfg: cfg, machine: fsm.NewMachine(),
		wall: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), leader: make(chan struct{}),
	}
	close(c.leader)
	key, pkcs8, err := auth.NewBootstrapKey()
	if err != nil {
		tb.Fatal(err)
	}
	res, err := c.propose(tb.Context(), &limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
		TenantId: string(c.Tenant), TenantName: "default", ClusterId: uuid.NewString(), KeyId: key, Key: pkcs8,
	}}})
	if err != nil || res.Refusal != nil {
		tb.Fatal("bootstrap: ", err, res.Refusal)
	}
	for i := range cfg.Nodes {
		c.Nodes = append(c.Nodes, newNode(tb, c, fmt.Sprintf("n%d", i+1)))
	}
	return c
}

// View gives the state.
func (c *Cluster) View() fsm.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.View()
}

// Wall gives the wall clock of the cluster.
func (c *Cluster) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Fenced gives the number of reports that the machine has fenced.
func (c *Cluster) Fenced() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fenced
}

// Advance moves cluster time and the wall clock, and fires what is due.
func (c *Cluster) Advance(d time.Duration) {
	c.mu.Lock()
	c.instant = c.instant.Add(d)
	c.wall = c.wall.Add(d)
	var effects []fsm.Effect
	for { // deadlines fire a bounded number per entry
		out := c.applyLocked()
		effects = append(effects, out.Effects...)
		if out.Deadlines == 0 {
			break
		}
	}
	effects = append(effects, c.decideLocked()...)
	c.mu.Unlock()
	c.wake(effects)
}

// SetLeader takes the leader away, or gives one back. Without one proposals
// and barriers wait.
func (c *Cluster) SetLeader(has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.leader:
		if !has {
			c.leader = make(chan struct{})
		}
	default:
		if has {
			close(c.leader)
		}
	}
}

// Propose applies a command as the leader would.
func (c *Cluster) Propose(tb testing.TB, cmd fsm.Command) fsm.Result {
	tb.Helper()
	res, err := c.propose(tb.Context(), cmd)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// LoseLease takes a worker's lease away, as the leader does that has not heard of it.
func (c *Cluster) LoseLease(tb testing.TB, id fsm.WorkerID, reason string) fsm.Result {
	tb.Helper()
	w, _ := c.View().Worker(id)
	return c.Propose(tb, &limpetv1.Command{Kind: &limpetv1.Command_LoseLease{LoseLease: &limpetv1.LoseLease{
		WorkerId: string(id), Epoch: w.Lease.Epoch, Session: string(w.Lease.Session), Reason: reason,
	}}})
}

func (c *Cluster) awaitLeader(ctx context.Context) error {
	c.mu.Lock()
	leader := c.leader
	c.mu.Unlock()
	select {
	case <-leader:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no leader: %w", ctx.Err())
	}
}

func (c *Cluster) propose(ctx context.Context, cmd fsm.Command) (fsm.Result, error) {
	if err := c.awaitLeader(ctx); err != nil {
		return fsm.Result{}, err
	}
	c.mu.Lock()
	c.requests++
	if len(cmd.GetRequestId()) == 0 {
		cmd.RequestId = binary.BigEndian.AppendUint64(make([]byte, 8), c.requests)
	}
	out := c.applyLocked(cmd)
	effects := append(out.Effects, c.decideLocked()...)
	c.mu.Unlock()
	c.wake(effects)
	return out.Results[0], nil
}

// decideLocked lets the scheduler assign until it has nothing more to say.
func (c *Cluster) decideLocked() (effects []fsm.Effect) {
	for {
		cmds := c.cfg.Decide(c.machine.View(), c.instant)
		if len(cmds) == 0 {
			return effects
		}
		out := c.applyLocked(cmds...)
		effects = append(effects, out.Effects...)
		for _, r := range out.Results {
			if r.Refusal != nil {
				return effects
			}
		}
	}
}

func (c *Cluster) applyLocked(cmds ...fsm.Command) fsm.Outcome {
	c.instant = c.instant.Add(tick)
	out := c.machine.Apply(&fsm.Entry{Stamp: fsm.Stamp{Instant: c.instant, Wall: c.wall.UnixNano()}, Commands: cmds})
	c.fenced += out.Fenced
	c.history = append(c.history, out.Forgotten...)
	return out
}

// past looks an archived run up.
func (c *Cluster) past(id string) *fsm.Archived {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.history {
		if string(a.Run.ID) == id || slices.ContainsFunc(a.Tasks, func(t *fsm.TaskRun) bool { return string(t.ID) == id }) {
			return a
		}
	}
	return nil
}

func (c *Cluster) pastRuns(visit func(*fsm.Archived) bool) {
	c.mu.Lock()
	list := slices.Clone(c.history)
	c.mu.Unlock()
	for _, a := range slices.Backward(list) {
		if !visit(a) {
			return
		}
	}
}

func (c *Cluster) wake(effects []fsm.Effect) {
	for _, n := range c.Nodes {
		n.Hub.Wake(effects)
	}
}

// FirstFit is a scheduler for tests: the oldest queued task run goes to its
// pinned worker, or to the first one that can take it. It knows no labels and
// no patience.
func FirstFit(view fsm.View, _ fsm.Instant) []fsm.Command {
	if q := view.Questions(1); len(q) > 0 {
		return []fsm.Command{judge(q[0])}
	}
	for run := range view.Runs(false) {
		version, ok := view.Version(run.Version)
		if !ok {
			continue
		}
		for i, id := range run.Tasks {
			t, ok := view.TaskRun(id)
			if !ok || t.Status != fsm.Queued {
				continue
			}
			if w := firstFit(view, run, &version.Tasks[i]); w != nil {
				return []fsm.Command{{Kind: &limpetv1.Command_Assign{Assign: &limpetv1.Assign{
					TaskRunId: string(t.ID), WorkerId: string(w.ID), Attempt: t.Attempt, Epoch: w.Lease.Epoch, Reason: "FIRST_FIT",
				}}}}
			}
		}
	}
	return nil
}

func judge(q fsm.Question) fsm.Command {
	e, err := expression.New()
	if err != nil {
		return fsm.NewJudgement(q.Case, false, err.Error())
	}
	holds, err := e.Holds(q.Expression, q.Output, q.Payload)
	if err != nil {
		return fsm.NewJudgement(q.Case, false, err.Error())
	}
	return fsm.NewJudgement(q.Case, holds, "")
}

func firstFit(view fsm.View, run *fsm.Run, task *fsm.Task) *fsm.Worker {
	pin, pinned := view.Pin(run.ID)
	for w := range view.Workers() {
		if w.Tenant == run.Tenant && w.Lease.State == fsm.LeaseLive && w.Mode == fsm.ModeActive &&
			w.HasAction(task.Action) && w.Fits(task.Slots) && (!pinned || pin.Worker == w.ID) {
			return w
		}
	}
	return nil
}
