package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/history"
)

// Scenario is a named course of faults, and what must hold in it beside the
// invariants.
type Scenario struct {
	Name  string
	About string
	// Workers is how many there are; 0 for as many as were asked for.
	Workers int
	// Short: it takes less than half a minute, and is one of the daily tests.
	Short bool

	wired bool // needs namespaces
	quiet bool // no clients but its own
	play  func(ctx context.Context, l *Lab) error
	// after looks at the whole history; may be nil.
	after func(h history.History) error
}

// Scenarios gives them all.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "leader-with-its-workers", wired: true, play: leaderWithWorkers, About: "The leader and the workers that are connected to it are cut off from all others for 20 s; the others go on."},
		{Name: "leaders-deposed", wired: true, play: leadersDeposed, About: "For 20 s every leader is cut off as soon as there is one, for a second or two, with its workers and all clients, and pressed with orders: what it did in vain leaves no trace."},
		{Name: "worker-and-leader-die", Workers: 20, play: workerAndLeaderDie, About: "A worker and the leader are killed in the same moment, three times; the worker's HARD run goes on there when it is back."},
		{Name: "pinned-worker-cut", Workers: 20, wired: true, quiet: true, Short: true, play: pinnedWorkerCut, About: "The node of a pinned worker loses the leader but not the worker: the run stays where it is pinned."},
		{Name: "all-nodes-killed", play: allNodesKilled, About: "All nodes are killed at once, twice, under load: what was acknowledged is there."},
		{Name: "disk-full", Workers: 20, wired: true, play: diskFullOnLeader, About: "The disk of the leader is full: the node ends with exit code 9, the others go on, and it comes back when there is room."},
		{Name: "clock-jumps", play: clockJumps, after: noLeaseLost, About: "The wall clock of each node in turn is an hour ahead, then an hour behind: no lease is lost, no call refused."},
		{Name: "zombie-worker", Workers: 20, quiet: true, play: zombieWorker, About: "Workers freeze in the middle of tasks until their leases are lost, and then go on as if nothing had been: what they report is refused."},
		{Name: "snapshot-install", Workers: 20, play: snapshotInstall, About: "A node is away until the log that it needs is gone: it gets a snapshot in the middle of a run."},
		{Name: "election-during-drain", Workers: 10, quiet: true, Short: true, play: electionDuringDrain, About: "The leader is killed while a worker drains: its HARD run ends there, and it still drains."},
		{Name: "replay-during-election", Workers: 10, quiet: true, Short: true, play: replayDuringElection, About: "A run is replayed while there is no leader: it is run again, once."},
		{Name: "trigger-retried", Workers: 10, quiet: true, Short: true, play: triggerRetried, About: "The node that took a trigger is killed before it answers, and the client asks another: one run."},
		{Name: "no-quorum", Workers: 20, quiet: true, play: noQuorum, About: "Two of three nodes are frozen for 30 s: nothing is acknowledged, nothing lost, and HARD runs end where they began."},
		{Name: "rolling-restart", play: rollingRestart, About: "One node after the other is stopped and started under load, as an upgrade does."},
		{Name: "frozen-while-rolling", Workers: 20, play: frozenWhileRolling, About: "Workers are frozen while one node after the other is restarted: each new leader gives their leases the whole time."},
		{Name: "disk-stalls", Workers: 20, play: diskStallsUnderLeader, About: "The disk of the leader hangs and its heartbeats do not: another node leads within seconds."},
	}
}

// made is the result of a task.
type made struct {
	Worker  string `json:"worker"`
	Attempt int32  `json:"attempt"`
}

// hand is the scenario's own client.
func (l *Lab) hand() (*client, error) {
	c, err := l.newClient("scenario", 9000)
	if err == nil {
		l.load.clients = append(l.load.clients, c)
	}
	return c, err
}

// begin starts a run, and fails if nobody takes it.
func (c *client) begin(ctx context.Context, flow string, in input, opts ...limpet.RunOption) (*limpet.RunRef, error) {
	ref := c.trigger(ctx, flow, in, opts...)
	if ref == nil {
		return nil, fmt.Errorf("no node took a trigger of %s within %s", flow, callPatience)
	}
	return ref, nil
}

// outcome waits for a run's result and gives what its tasks made.
func (c *client) outcome(ctx context.Context, ref *limpet.RunRef) (map[string]made, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c.lab.history.Add(history.Event{Kind: history.Subscribed, Client: c.name, Run: ref.ID()})
	res, err := ref.Result(ctx)
	if err != nil {
		if _, failed := errors.AsType[*limpet.RunError](err); failed {
			c.lab.history.Add(history.Event{Kind: history.Delivered, Client: c.name, Run: ref.ID(), Status: history.Failed})
		} else {
			c.lab.history.Add(history.Event{Kind: history.GaveUp, Client: c.name, Run: ref.ID(), Detail: err.Error()})
		}
		return nil, err
	}
	c.lab.history.Add(history.Event{Kind: history.Delivered, Client: c.name, Run: ref.ID(), Status: history.Completed, Output: outputOf(res.Outputs)})
	out := map[string]made{}
	for name, raw := range res.Outputs {
		var m made
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("output of task %s: %w", name, err)
		}
		out[name] = m
	}
	return out, nil
}

// once starts a run and waits for its result.
func (c *client) once(ctx context.Context, flow string, in input) (map[string]made, error) {
	ref, err := c.begin(ctx, flow, in)
	if err != nil {
		return nil, err
	}
	return c.outcome(ctx, ref)
}

// allOn fails unless all tasks of a run were done by one worker.
func allOn(worker string, out map[string]made) error {
	for task, m := range out {
		if m.Worker != worker {
			return fmt.Errorf("task %s was done by worker %s, and not by %s", task, m.Worker, worker)
		}
	}
	return nil
}

// workerAt gives a live worker of a process that keeps its identities, connected
// to a node that fits, and that process.
func (l *Lab) workerAt(ctx context.Context, fits func(node string) bool) (*limpetv1.WorkerInfo, *crew, error) {
	var found *limpetv1.WorkerInfo
	var of *crew
	const patience = 30 * time.Second
	err := until(ctx, patience, "a live worker at such a node", func() bool {
		all, err := l.workers(ctx)
		if err != nil {
			return false
		}
		for _, w := range all {
			for _, c := range l.crews {
				if c.name == crewOf(w) && c.stable && !c.agent && w.GetLease() == "live" && fits(w.GetNode()) {
					found, of = w, c
					return true
				}
			}
		}
		return false
	})
	return found, of, err
}

func anyNode(string) bool { return true }

// otherLeader waits until another node leads.
func (l *Lab) otherLeader(ctx context.Context, old *node) error {
	const patience = 20 * time.Second
	return until(ctx, patience, "another leader than "+old.name, func() bool {
		n, err := l.leader(ctx)
		return err == nil && n != old
	})
}

// begun waits until the evidence of a process shows a run.
func (l *Lab) begun(ctx context.Context, run string) error {
	const patience = 20 * time.Second
	return until(ctx, patience, "run "+run+" to begin", func() bool { return l.sawBegin(run) })
}
