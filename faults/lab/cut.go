package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// hosts are all that can be on one side of a partition: nodes, workers and the
// clients' own.
func (l *Lab) hosts() (out []string) {
	for _, n := range l.nodes {
		out = append(out, n.host)
	}
	for _, c := range l.crews {
		out = append(out, c.host)
	}
	return append(out, clientsHost)
}

// clientsHost is where the lab itself is.
const clientsHost = "lab"

// without gives the hosts that are not in a list.
func (l *Lab) without(list []string) (out []string) {
	in := map[string]bool{}
	for _, h := range list {
		in[h] = true
	}
	for _, h := range l.hosts() {
		if !in[h] {
			out = append(out, h)
		}
	}
	return out
}

// cutHalves parts everything in two at random, with a node on either side.
func (l *Lab) cutHalves(_ context.Context, r *rand.Rand) (string, func(), error) {
	order := r.Perm(len(l.nodes))
	split := 1 + r.IntN(len(l.nodes)-1)
	var side []string
	for _, i := range order[:split] {
		side = append(side, l.nodes[i].host)
	}
	for _, h := range l.without(nil)[len(l.nodes):] {
		if r.IntN(2) == 0 {
			side = append(side, h)
		}
	}
	return strings.Join(side, " ") + " | the rest", l.wires.sever(side, l.without(side), false), nil
}

// cutNode parts one node from everything.
func (l *Lab) cutNode(leader bool) beginFault {
	return func(ctx context.Context, r *rand.Rand) (string, func(), error) {
		n := l.pickNode(ctx, r, leader)
		if n == nil {
			return "", nil, nil
		}
		side := l.withClients([]string{n.host}, r)
		return strings.Join(side, " ") + " | the rest", l.mending(n, side, l.without(side), false), nil
	}
}

// withClients puts the clients on that side, or not: a leader that is alone is
// asked nothing without them.
func (l *Lab) withClients(side []string, r *rand.Rand) []string {
	if r.IntN(2) == 0 {
		return side
	}
	return append(side, clientsHost)
}

// mending cuts, and gives the node back when that is undone.
func (l *Lab) mending(n *node, a, b []string, oneWay bool) (end func()) {
	mend := l.wires.sever(a, b, oneWay)
	return func() {
		mend()
		l.nemesis.give(n.host)
	}
}

// cutOneWay: what a node sends reaches nobody, or what is sent to it does not
// arrive.
func (l *Lab) cutOneWay(ctx context.Context, r *rand.Rand) (string, func(), error) {
	n := l.pickNode(ctx, r, r.IntN(2) == 0)
	if n == nil {
		return "", nil, nil
	}
	one, rest := []string{n.host}, l.without([]string{n.host})
	if r.IntN(2) == 0 {
		return "the rest > " + n.name, l.mending(n, rest, one, true), nil
	}
	return n.name + " > the rest", l.mending(n, one, rest, true), nil
}

// cutBridge: two nodes do not see each other, and a third sees both.
func (l *Lab) cutBridge(ctx context.Context, r *rand.Rand) (string, func(), error) {
	if len(l.nodes) < 3 {
		return "", nil, nil
	}
	a := l.pickNode(ctx, r, true)
	if a == nil {
		return "", nil, nil
	}
	others := l.followers(a)
	b := others[r.IntN(len(others))]
	return a.name + " | " + b.name, l.mending(a, []string{a.host}, []string{b.host}, false), nil
}

// cutLeaderWorkers parts the leader and the workers that are connected to it
// from all others.
func (l *Lab) cutLeaderWorkers(ctx context.Context, r *rand.Rand) (string, func(), error) {
	n := l.pickNode(ctx, r, true)
	if n == nil {
		return "", nil, nil
	}
	side := []string{n.host}
	for _, c := range l.crewsAt(ctx, n) {
		side = append(side, c.host)
	}
	side = l.withClients(side, r)
	return strings.Join(side, " ") + " | the rest", l.mending(n, side, l.without(side), false), nil
}

// cutAgain parts whoever leads from the other nodes, with its workers and all
// clients, and does so with the next leader as soon as there is one. What a
// leader does between its last entry that counts and its end is done often so.
func (l *Lab) cutAgain(ctx context.Context, r *rand.Rand) (string, func(), error) {
	return l.cutEachLeader(ctx, r, func(*node) {})
}

// cutEachLeader is cutAgain that tells of each leader as soon as it is cut off.
func (l *Lab) cutEachLeader(ctx context.Context, r *rand.Rand, then func(*node)) (string, func(), error) {
	const least, spread = 700 * time.Millisecond, 1300 * time.Millisecond
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			n, err := l.leader(ctx)
			if err != nil {
				continue
			}
			side := []string{n.host, clientsHost}
			for _, c := range l.crewsAt(ctx, n) {
				side = append(side, c.host)
			}
			mend := l.wires.sever(side, l.without(side), false)
			then(n)
			_ = sleep(ctx, least+time.Duration(r.Int64N(int64(spread))))
			mend()
			_ = sleep(ctx, time.Duration(r.Int64N(int64(spread))))
		}
	}()
	return "whoever leads, its workers and the clients", func() {
		stop()
		<-ended
	}, nil
}

func (l *Lab) cutWorkers(_ context.Context, r *rand.Rand) (string, func(), error) {
	var side []string
	for _, i := range r.Perm(len(l.crews))[:1+r.IntN(min(3, len(l.crews)))] {
		side = append(side, l.crews[i].host)
	}
	return strings.Join(side, " ") + " | the rest", l.wires.sever(side, l.without(side), false), nil
}

// cutWorkersNode parts the workers of a node from that node only.
func (l *Lab) cutWorkersNode(ctx context.Context, r *rand.Rand) (string, func(), error) {
	n := l.nodes[r.IntN(len(l.nodes))]
	var side []string
	for _, c := range l.crewsAt(ctx, n) {
		side = append(side, c.host)
	}
	if len(side) == 0 {
		return "", nil, nil
	}
	return strings.Join(side, " ") + " | " + n.name, l.wires.sever(side, []string{n.host}, false), nil
}

// spoilNet makes the wires of some hosts lossy or slow.
func (l *Lab) spoilNet(loss bool) beginFault {
	return func(_ context.Context, r *rand.Rand) (string, func(), error) {
		hosts := l.hosts()
		var some []string
		for _, i := range r.Perm(len(hosts))[:1+r.IntN(4)] {
			some = append(some, hosts[i])
		}
		if loss {
			share := 0.02 + 0.18*r.Float64()
			return fmt.Sprintf("%.0f %% at %s", 100*share, strings.Join(some, " ")), l.wires.spoil(some, share, 0), nil
		}
		by := time.Duration(5+r.IntN(60)) * time.Millisecond
		return fmt.Sprintf("%s at %s", by, strings.Join(some, " ")), l.wires.spoil(some, 0, by), nil
	}
}
