package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/history"
)

// sawBegin reports whether some worker has written down that it runs a task of a
// run.
func (l *Lab) sawBegin(run string) bool {
	files, _ := filepath.Glob(filepath.Join(l.evidence(), "*.jsonl"))
	for _, file := range files {
		raw, _ := os.ReadFile(file)
		if strings.Contains(string(raw), `"run":"`+run+`"`) {
			return true
		}
	}
	return false
}

// during makes a fault, does something, and undoes the fault.
func (l *Lab) during(ctx context.Context, kind, target string, begin func() (end func(), err error), do func() error) error {
	var failed error
	end := l.make(ctx, kind, func() (string, func(), error) {
		undo, err := begin()
		failed = err
		return target, undo, err
	})
	defer end()
	if failed != nil {
		return failed
	}
	return do()
}

func leaderWithWorkers(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	side := []string{leader.host}
	for _, w := range l.crewsAt(ctx, leader) {
		side = append(side, w.host)
	}
	if len(side) == 1 || len(side) > len(l.crews) {
		l.say("of %d processes of workers %d are at the leader", len(l.crews), len(side)-1)
	}
	const long = 20 * time.Second
	return l.during(ctx, cutLeaderWorkers, strings.Join(side, " "), func() (func(), error) {
		return l.wires.sever(side, l.without(side), false), nil
	}, func() error {
		until := time.Now().Add(long)
		if _, err := c.once(ctx, flowGraph, input{Ms: 50}); err != nil {
			return fmt.Errorf("the majority does not go on: %w", err)
		}
		return sleep(ctx, time.Until(until))
	})
}

func workerAndLeaderDie(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	for range 3 {
		leader, err := l.leader(ctx)
		if err != nil {
			return err
		}
		w, crew, err := l.workerAt(ctx, anyNode)
		if err != nil {
			return err
		}
		ref, err := c.begin(ctx, flowChain, input{Ms: 1500}, limpet.WithRunWorker(w.GetId()))
		if err != nil {
			return err
		}
		if err := l.begun(ctx, ref.ID()); err != nil {
			return err
		}
		err = l.during(ctx, leaderKill, leader.name+" and "+crew.name, func() (func(), error) {
			leader.signal(syscall.SIGKILL)
			l.stopCrew(crew, syscall.SIGKILL)
			l.stopNode(leader, syscall.SIGKILL)
			return func() { l.mustStart(leader) }, nil
		}, func() error {
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			return l.startCrew(crew)
		})
		if err != nil {
			return err
		}
		out, err := c.outcome(ctx, ref)
		if err = errors.Join(err, allOn(w.GetId(), out)); err != nil {
			return err
		}
		if err := l.awaitNode(ctx, leader); err != nil {
			return err
		}
	}
	return nil
}

func pinnedWorkerCut(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	w, _, err := l.workerAt(ctx, func(node string) bool { return node != leader.name && node != "" })
	if err != nil {
		return err
	}
	ref, err := c.begin(ctx, flowChain, input{Ms: 2500}, limpet.WithRunWorker(w.GetId()))
	if err != nil {
		return err
	}
	if err := l.begun(ctx, ref.ID()); err != nil {
		return err
	}
	return l.during(ctx, cutBridge, leader.name+" | "+w.GetNode(), func() (func(), error) {
		return l.wires.sever([]string{leader.host}, []string{w.GetNode()}, false), nil
	}, func() error {
		out, err := c.outcome(ctx, ref)
		return errors.Join(err, allOn(w.GetId(), out))
	})
}

func allNodesKilled(ctx context.Context, l *Lab) error {
	for range 2 {
		if err := sleep(ctx, 5*time.Second); err != nil {
			return err
		}
		err := l.during(ctx, allKill, "all nodes", func() (func(), error) {
			_, end, err := l.killAll(ctx, nil)
			return end, err
		}, func() error { return sleep(ctx, 3*time.Second) })
		if err != nil {
			return err
		}
		if _, err := l.leader(ctx); err != nil {
			return err
		}
	}
	return sleep(ctx, 3*time.Second)
}

// diskExit is the exit code of a node whose log cannot be written.
const diskExit = 9

func diskFullOnLeader(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	pad := strings.Repeat("x", 200<<10) // so that the log has to grow
	err = l.during(ctx, diskFull, leader.name, func() (func(), error) { return fillDisk(leader.dir) }, func() error {
		const patience = 60 * time.Second
		err := until(ctx, patience, leader.name+" to end with its disk full", func() bool {
			c.trigger(ctx, flowOne, input{Ms: 10, Pad: pad})
			return !leader.up()
		})
		if err != nil {
			return err
		}
		_, err = c.once(ctx, flowGraph, input{Ms: 10})
		return err
	})
	if err != nil {
		return err
	}
	if code := leader.lastExit(); code != diskExit {
		return fmt.Errorf("%s ended with exit code %d, not %d", leader.name, code, diskExit)
	}
	if err := l.startNode(leader); err != nil {
		return err
	}
	return l.awaitNode(ctx, leader)
}

func clockJumps(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	for _, n := range l.nodes {
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			err := l.during(ctx, clockOff, fmt.Sprintf("%s by %s", n.name, by), func() (func(), error) {
				_, end, err := l.skew(n, by)
				return end, err
			}, func() error {
				_, err := c.once(ctx, flowChain, input{Ms: 100})
				return errors.Join(err, sleep(ctx, 3*time.Second))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// noLeaseLost: nothing happened that may cost a worker its lease, and no call
// was refused.
func noLeaseLost(h history.History) (err error) {
	for _, e := range h {
		switch {
		case e.Kind == history.Healed:
			return err
		case e.Kind == history.Lease && e.Status == history.LeaseLost:
			err = errors.Join(err, fmt.Errorf("worker %s lost its lease: %s", e.Worker, e.Detail))
		case e.Kind == history.Refused && e.Op == history.OpTrigger && !strings.Contains(e.Detail, codes.ResourceExhausted.String()): // a slow machine may have its fill
			err = errors.Join(err, fmt.Errorf("a trigger was refused: %s", e.Detail))
		}
	}
	return err
}

// The worker comes back when others have done some of its tasks and are at the rest:
// of those a report of its own would still make a difference.
func zombieWorker(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	w, crew, err := l.workerAt(ctx, anyNode)
	if err != nil {
		return err
	}
	const short, long = 4000, 12000
	var done, doing []*limpet.RunRef
	for _, ms := range []int64{short, short, short, long, long} {
		ref, err := c.begin(ctx, flowOne, input{Ms: ms}, limpet.WithRunWorker(w.GetId()))
		if err != nil {
			return err
		}
		if ms == short {
			done = append(done, ref)
		} else {
			doing = append(doing, ref)
		}
		if err := l.begun(ctx, ref.ID()); err != nil {
			return err
		}
	}
	byOthers := func(refs []*limpet.RunRef) error {
		for _, ref := range refs {
			out, err := c.outcome(ctx, ref)
			if err != nil {
				return err
			}
			if m := out["only"]; m.Worker == w.GetId() || m.Attempt == 0 {
				return fmt.Errorf("run %s was completed by the frozen worker", ref.ID())
			}
		}
		return nil
	}
	err = l.during(ctx, crewFreeze, crew.name, func() (func(), error) { return l.freeze(crew), nil }, func() error { return byOthers(done) })
	if err != nil {
		return err
	}
	return byOthers(doing)
}

func snapshotInstall(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	away := l.followers(leader)[0]
	w, _, err := l.workerAt(ctx, func(node string) bool { return node != away.name })
	if err != nil {
		return err
	}
	var ref *limpet.RunRef
	err = l.during(ctx, nodeKill, away.name, func() (func(), error) {
		l.stopNode(away, syscall.SIGKILL)
		return func() { l.mustStart(away) }, nil
	}, func() error {
		const runs = 150 // some 20 entries each
		for i := range runs {
			if _, err := c.begin(ctx, flowGraph, input{Ms: 1}); err != nil {
				return fmt.Errorf("run %d: %w", i, err)
			}
		}
		if err := sleep(ctx, 5*time.Second); err != nil { // for the snapshots
			return err
		}
		ref, err = c.begin(ctx, flowChain, input{Ms: 4000}, limpet.WithRunWorker(w.GetId()))
		if err != nil {
			return err
		}
		return l.begun(ctx, ref.ID())
	})
	if err != nil {
		return err
	}
	if err := l.awaitNode(ctx, away); err != nil {
		return err
	}
	out, err := c.outcome(ctx, ref)
	if err = errors.Join(err, allOn(w.GetId(), out)); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(l.dir, away.name+".log"))
	if err != nil {
		return fmt.Errorf("log of %s: %w", away.name, err)
	}
	if !strings.Contains(string(raw), "Installed remote snapshot") {
		return fmt.Errorf("%s came back without a snapshot: the scenario shows nothing", away.name)
	}
	return nil
}

func electionDuringDrain(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	w, _, err := l.workerAt(ctx, func(node string) bool { return node != leader.name })
	if err != nil {
		return err
	}
	ref, err := c.begin(ctx, flowChain, input{Ms: 1500}, limpet.WithRunWorker(w.GetId()))
	if err != nil {
		return err
	}
	if err := l.begun(ctx, ref.ID()); err != nil {
		return err
	}
	if err := l.setMode(ctx, w.GetId(), limpetv1.WorkerMode_WORKER_MODE_DRAINING, 0); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return l.during(ctx, leaderKill, leader.name, func() (func(), error) {
		l.stopNode(leader, syscall.SIGKILL)
		return func() { l.mustStart(leader) }, nil
	}, func() error {
		if err := l.otherLeader(ctx, leader); err != nil {
			return err
		}
		out, err := c.outcome(ctx, ref)
		if err = errors.Join(err, allOn(w.GetId(), out)); err != nil {
			return err
		}
		for range 5 {
			out, err := c.once(ctx, flowOne, input{Ms: 1})
			if err != nil {
				return err
			}
			if out["only"].Worker == w.GetId() {
				return errors.New("the draining worker was given a new run")
			}
		}
		return nil
	})
}

func replayDuringElection(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	ref, err := c.begin(ctx, flowChain, input{Ms: 50})
	if err != nil {
		return err
	}
	before, err := c.outcome(ctx, ref)
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	return l.during(ctx, leaderKill, leader.name, func() (func(), error) {
		l.stopNode(leader, syscall.SIGKILL)
		return func() { l.mustStart(leader) }, nil
	}, func() error {
		c.replay(ctx, ref.ID())
		after, err := c.outcome(ctx, ref)
		if err != nil {
			return err
		}
		for task, m := range after {
			if m.Attempt != before[task].Attempt+1 || m.Worker != before[task].Worker {
				return fmt.Errorf("task %s was done by %+v before the replay and by %+v after it", task, before[task], m)
			}
		}
		return nil
	})
}
