package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/history"
)

// triggerRetried calls as an SDK does: one request id for all tries.
func triggerRetried(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	for i := range 4 {
		leader, err := l.leader(ctx)
		if err != nil {
			return err
		}
		call, outcome := c.invoke(history.OpTrigger, "", flowOne)
		order := l.order(flowOne, input{Ms: 20}, call)
		trigger := func(n *node, patience time.Duration) (string, error) { return order.give(ctx, n, patience) }
		err = l.during(ctx, leaderKill, leader.name, func() (func(), error) {
			first := make(chan struct{})
			go func() {
				defer close(first)
				_, _ = trigger(leader, 2*time.Second) // the scenario is that nobody knows
			}()
			time.Sleep(time.Duration(1+3*i) * time.Millisecond)
			l.stopNode(leader, syscall.SIGKILL)
			<-first
			return func() { l.mustStart(leader) }, nil
		}, func() error {
			run, err := trigger(l.followers(leader)[i%2], callPatience)
			outcome(repeated(err), run, "")
			return err
		})
		if err != nil {
			return err
		}
		if err := l.awaitNode(ctx, leader); err != nil {
			return err
		}
	}
	return nil
}

func noQuorum(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	w, _, err := l.workerAt(ctx, anyNode)
	if err != nil {
		return err
	}
	ref, err := c.begin(ctx, flowChain, input{Ms: 3000}, limpet.WithRunWorker(w.GetId()))
	if err != nil {
		return err
	}
	if err := l.begun(ctx, ref.ID()); err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	frozen := []*node{leader, l.followers(leader)[0]}
	const dark = 30 * time.Second
	err = l.during(ctx, nodeFreeze, frozen[0].name+" "+frozen[1].name, func() (func(), error) {
		for _, n := range frozen {
			n.signal(syscall.SIGSTOP)
		}
		return func() {
			for _, n := range frozen {
				n.signal(syscall.SIGCONT)
			}
		}, nil
	}, func() error {
		until := time.Now().Add(dark)
		if c.trigger(ctx, flowOne, input{Ms: 1}) != nil {
			return errors.New("a trigger was acknowledged without a quorum")
		}
		return sleep(ctx, time.Until(until))
	})
	if err != nil {
		return err
	}
	out, err := c.outcome(ctx, ref)
	return errors.Join(err, allOn(w.GetId(), out))
}

func leadersDeposed(ctx context.Context, l *Lab) error {
	const long = 20 * time.Second
	c, err := l.hand()
	if err != nil {
		return err
	}
	chance := rand.New(rand.NewPCG(l.cfg.Seed, 11)) //nolint:gosec // repeatable on purpose
	return l.during(ctx, cutAgain, "whoever leads, its workers and the clients", func() (func(), error) {
		_, end, err := l.cutEachLeader(ctx, chance, func(n *node) { c.press(ctx, n) })
		return end, err
	}, func() error { return sleep(ctx, long) })
}

func rollingRestart(ctx context.Context, l *Lab) error {
	for range 2 {
		for _, n := range l.nodes {
			err := l.during(ctx, nodesRoll, n.name, func() (func(), error) {
				l.stopNode(n, syscall.SIGTERM)
				return func() { l.mustStart(n) }, nil
			}, func() error { return nil })
			if err = errors.Join(err, l.awaitNode(ctx, n), sleep(ctx, time.Second)); err != nil {
				return err
			}
		}
	}
	return nil
}

// frozenWhileRolling makes silent workers whose streams their nodes have ended:
// no leader of the moment may take its own short time for theirs.
func frozenWhileRolling(ctx context.Context, l *Lab) error {
	crew := l.crews[len(l.crews)-1] // without gossip nobody can say that it is gone
	const after = 12 * time.Second
	return l.during(ctx, crewFreeze, crew.name, func() (func(), error) { return l.freeze(crew), nil }, func() error {
		for _, n := range l.nodes {
			l.stopNode(n, syscall.SIGTERM)
			l.mustStart(n)
			if err := l.awaitNode(ctx, n); err != nil {
				return err
			}
		}
		return sleep(ctx, after)
	})
}

func diskStallsUnderLeader(ctx context.Context, l *Lab) error {
	c, err := l.hand()
	if err != nil {
		return err
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return err
	}
	return l.during(ctx, diskStalls, leader.name, func() (func(), error) {
		if err := write(leader.diskFile(), diskStall); err != nil {
			return nil, err
		}
		return func() {
			_ = write(leader.diskFile(), "")
			l.reviveNode(leader)
		}, nil
	}, func() error {
		_, err := c.once(ctx, flowGraph, input{Ms: 10})
		if err != nil {
			return err
		}
		return l.otherLeader(ctx, leader)
	})
}
