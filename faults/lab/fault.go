package lab

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/history"
)

// The kinds of fault.
const (
	nodeKill         = "node killed"
	leaderKill       = "leader killed"
	allKill          = "all nodes killed"
	nodeFreeze       = "node frozen"
	leaderFreeze     = "leader frozen"
	nodesRoll        = "rolling restart"
	cutHalves        = "partition: halves"
	cutMinority      = "partition: one node alone"
	cutOneWay        = "partition: one way"
	cutBridge        = "partition: bridge"
	cutLeaderWorkers = "partition: leader with its workers"
	cutLeader        = "partition: leader alone"
	cutAgain         = "partition: one leader after the other"
	cutWorkers       = "partition: workers from all nodes"
	cutWorkersNode   = "partition: workers from their node"
	netLoss          = "packets lost"
	netDelay         = "packets delayed"
	clockOff         = "clock wrong"
	diskStalls       = "disk stalls"
	diskFails        = "disk fails"
	diskIsSlow       = "disk slow"
	diskFull         = "disk full"
	crewKill         = "workers killed"
	crewFreeze       = "workers frozen"
	crewRestart      = "workers restarted"
	workerDrain      = "worker drained"
)

// faultKind is a fault as chance picks it.
type faultKind struct {
	name   string
	weight int
	// wired: it needs a network that can be cut, or a disk that can be filled.
	wired       bool
	least, most time.Duration
	// begin makes the fault at a target of chance; end undoes it. A target that
	// another fault has already gives an empty name.
	begin func(ctx context.Context, r *rand.Rand) (target string, end func(), err error)
}

func (l *Lab) faultKinds() []faultKind {
	const s = time.Second
	return []faultKind{
		{nodeKill, 6, false, s, 8 * s, l.killSome(false)},
		{leaderKill, 8, false, s, 8 * s, l.killSome(true)},
		{allKill, 1, false, s / 2, 3 * s, l.killAll},
		{nodeFreeze, 4, false, s / 2, 7 * s, l.freezeSome(false)},
		{leaderFreeze, 4, false, s / 2, 7 * s, l.freezeSome(true)},
		{nodesRoll, 2, false, s, 2 * s, l.roll},
		{cutHalves, 6, true, s, 9 * s, l.cutHalves},
		{cutMinority, 5, true, s, 9 * s, l.cutNode(false)},
		{cutOneWay, 4, true, s, 7 * s, l.cutOneWay},
		{cutBridge, 4, true, s, 9 * s, l.cutBridge},
		{cutLeaderWorkers, 5, true, s, 9 * s, l.cutLeaderWorkers},
		{cutLeader, 5, true, s, 9 * s, l.cutNode(true)},
		{cutAgain, 8, true, 3 * s, 8 * s, l.cutAgain},
		{cutWorkers, 4, true, s, 20 * s, l.cutWorkers},
		{cutWorkersNode, 4, true, s, 9 * s, l.cutWorkersNode},
		{netLoss, 4, true, 2 * s, 9 * s, l.spoilNet(true)},
		{netDelay, 4, true, 2 * s, 9 * s, l.spoilNet(false)},
		{clockOff, 5, false, s, 9 * s, l.skewClock},
		{diskStalls, 4, false, s, 6 * s, l.spoilDisk(diskStall)},
		{diskFails, 3, false, s / 2, 4 * s, l.spoilDisk(diskFlaky)},
		{diskIsSlow, 3, false, s, 8 * s, l.spoilDisk(diskSlow + "40ms")},
		{diskFull, 2, true, s, 5 * s, l.fill},
		{crewKill, 7, false, s / 2, 14 * s, l.killCrew},
		{crewFreeze, 6, false, s, 22 * s, l.freezeCrew},
		{crewRestart, 3, false, s / 10, s, l.restartCrew},
		{workerDrain, 5, false, s, 9 * s, l.drainSome},
	}
}

// nemesis makes faults of chance until ctx ends, and undoes those that are open.
type nemesis struct {
	lab  *Lab
	rand *rand.Rand

	mu   sync.Mutex
	busy map[string]bool // hosts
	wg   sync.WaitGroup
}

const (
	faultsAtOnce             = 3
	faultPauseLo, faultPause = 1500 * time.Millisecond, 3 * time.Second
)

func (l *Lab) unleash(ctx context.Context) {
	m := &nemesis{lab: l, rand: rand.New(rand.NewPCG(l.cfg.Seed, 7)), busy: map[string]bool{}} //nolint:gosec // repeatable on purpose
	l.nemesis = m
	kinds := slices.DeleteFunc(l.faultKinds(), func(k faultKind) bool { return k.wired && l.wires == nil })
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	gate := make(chan struct{}, faultsAtOnce)
	for sleep(ctx, faultPauseLo+time.Duration(m.rand.Int64N(int64(faultPause)))) == nil {
		pick := m.rand.IntN(total)
		i := 0
		for ; pick >= kinds[i].weight; i++ {
			pick -= kinds[i].weight
		}
		k := kinds[i]
		last := k.least + time.Duration(m.rand.Int64N(int64(k.most-k.least)))
		chance := rand.New(rand.NewPCG(m.rand.Uint64(), 3)) //nolint:gosec // repeatable on purpose
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		m.wg.Go(func() {
			defer func() { <-gate }()
			end := l.make(ctx, k.name, func() (string, func(), error) { return k.begin(ctx, chance) })
			_ = sleep(ctx, last)
			end()
		})
	}
	m.wg.Wait()
}

// make makes a fault and notes it; the function returned undoes it.
func (l *Lab) make(ctx context.Context, kind string, begin func() (string, func(), error)) (end func()) {
	before := l.history.Since(time.Now())
	target, undo, err := begin()
	if err != nil || target == "" {
		if err != nil && ctx.Err() == nil {
			l.say("fault %q could not be made: %v", kind, err)
		}
		return func() {}
	}
	id := "f" + strconv.FormatInt(l.faultCount.Add(1), 10)
	l.say("%s: %s", kind, target)
	l.history.Add(history.Event{Kind: history.FaultBegin, Op: kind, Call: id, Detail: target, Since: before})
	return sync.OnceFunc(func() {
		undo()
		l.history.Add(history.Event{Kind: history.FaultEnd, Op: kind, Call: id, Detail: target})
	})
}

// take reserves hosts for one fault; false if another has one of them.
func (m *nemesis) take(hosts ...string) bool {
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range hosts {
		if m.busy[h] {
			return false
		}
	}
	for _, h := range hosts {
		m.busy[h] = true
	}
	return true
}

func (m *nemesis) give(hosts ...string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range hosts {
		delete(m.busy, h)
	}
}

type beginFault = func(context.Context, *rand.Rand) (string, func(), error)

// pickNode gives the leader or a node of chance, reserved; nil if that is not
// possible.
func (l *Lab) pickNode(ctx context.Context, r *rand.Rand, leader bool) *node {
	n := l.nodes[r.IntN(len(l.nodes))]
	if leader {
		var err error
		if n, err = l.leader(ctx); err != nil {
			return nil
		}
	}
	if !n.up() || !l.nemesis.take(n.host) {
		return nil
	}
	return n
}

func (l *Lab) killSome(leader bool) beginFault {
	return func(ctx context.Context, r *rand.Rand) (string, func(), error) {
		n := l.pickNode(ctx, r, leader)
		if n == nil {
			return "", nil, nil
		}
		l.stopNode(n, syscall.SIGKILL)
		return n.name, func() {
			l.mustStart(n)
			l.nemesis.give(n.host)
		}, nil
	}
}

// mustStart starts a node and waits a while for it to serve, so that the next
// fault meets a cluster of some sort.
func (l *Lab) mustStart(n *node) {
	if err := l.startNode(n); err != nil {
		l.say("%s does not start: %v", n.name, err)
	}
}

func (l *Lab) killAll(context.Context, *rand.Rand) (string, func(), error) {
	var hosts []string
	for _, n := range l.nodes {
		hosts = append(hosts, n.host)
	}
	if !l.nemesis.take(hosts...) {
		return "", nil, nil
	}
	for _, n := range l.nodes {
		n.signal(syscall.SIGKILL)
	}
	return strings.Join(hosts, " "), func() {
		for _, n := range l.nodes {
			l.stopNode(n, syscall.SIGKILL)
			l.mustStart(n)
		}
		l.nemesis.give(hosts...)
	}, nil
}

func (l *Lab) freezeSome(leader bool) beginFault {
	return func(ctx context.Context, r *rand.Rand) (string, func(), error) {
		n := l.pickNode(ctx, r, leader)
		if n == nil {
			return "", nil, nil
		}
		n.signal(syscall.SIGSTOP)
		return n.name, func() {
			n.signal(syscall.SIGCONT)
			l.nemesis.give(n.host)
		}, nil
	}
}

// roll restarts one node after the other, as an upgrade does.
func (l *Lab) roll(ctx context.Context, _ *rand.Rand) (string, func(), error) {
	var names []string
	for _, n := range l.nodes {
		if !l.nemesis.take(n.host) {
			continue
		}
		names = append(names, n.name)
		l.stopNode(n, syscall.SIGTERM)
		l.mustStart(n)
		err := l.awaitNode(ctx, n)
		l.nemesis.give(n.host)
		if err != nil {
			return "", nil, err
		}
	}
	return strings.Join(names, " "), func() {}, nil
}

func (l *Lab) killCrew(_ context.Context, r *rand.Rand) (string, func(), error) {
	c := l.crews[r.IntN(len(l.crews))]
	if !l.nemesis.take(c.host) {
		return "", nil, nil
	}
	l.stopCrew(c, syscall.SIGKILL)
	return c.name, func() { l.reviveCrew(c) }, nil
}

func (l *Lab) reviveCrew(c *crew) {
	if err := l.startCrew(c); err != nil {
		l.say("%s does not start: %v", c.name, err)
	}
	l.nemesis.give(c.host)
}

func (l *Lab) freezeCrew(_ context.Context, r *rand.Rand) (string, func(), error) {
	c := l.crews[r.IntN(len(l.crews))]
	if !c.up() || !l.nemesis.take(c.host) {
		return "", nil, nil
	}
	thaw := l.freeze(c)
	return c.name, func() {
		thaw()
		l.nemesis.give(c.host)
	}, nil
}

func (l *Lab) restartCrew(_ context.Context, r *rand.Rand) (string, func(), error) {
	c := l.crews[r.IntN(len(l.crews))]
	if !c.up() || !l.nemesis.take(c.host) {
		return "", nil, nil
	}
	l.stopCrew(c, syscall.SIGTERM)
	return c.name, func() { l.reviveCrew(c) }, nil
}

func (l *Lab) drainSome(ctx context.Context, r *rand.Rand) (string, func(), error) {
	all, err := l.workers(ctx)
	all = slices.DeleteFunc(all, func(w *limpetv1.WorkerInfo) bool { return w.GetLease() != "live" || w.GetMode() != "active" })
	if err != nil || len(all) == 0 {
		return "", nil, err
	}
	w := all[r.IntN(len(all))]
	if err := l.setMode(ctx, w.GetId(), limpetv1.WorkerMode_WORKER_MODE_DRAINING, 0); err != nil {
		return "", nil, err
	}
	return w.GetName(), func() {
		// It may be another process by now, whose mode is its own.
		_ = l.setMode(context.WithoutCancel(ctx), w.GetId(), limpetv1.WorkerMode_WORKER_MODE_ACTIVE, 0)
	}, nil
}

// skewClock makes the clock of the leader wrong, or that of another node.
func (l *Lab) skewClock(ctx context.Context, r *rand.Rand) (string, func(), error) {
	n := l.nodes[r.IntN(len(l.nodes))]
	if leader, err := l.leader(ctx); err == nil && r.IntN(3) > 0 {
		n = leader
	}
	by := []time.Duration{-time.Hour, -time.Minute, -time.Second, time.Second, time.Minute, time.Hour, 24 * time.Hour}[r.IntN(7)]
	return l.skew(n, by)
}

func (l *Lab) skew(n *node, by time.Duration) (string, func(), error) {
	if err := write(n.clockFile(), by.String()); err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("%s by %s", n.name, by), func() { _ = write(n.clockFile(), "0s") }, nil
}

func (l *Lab) spoilDisk(how string) beginFault {
	return func(ctx context.Context, r *rand.Rand) (string, func(), error) {
		n := l.pickNode(ctx, r, r.IntN(3) > 0)
		if n == nil {
			return "", nil, nil
		}
		if err := write(n.diskFile(), how); err != nil {
			return "", nil, err
		}
		return n.name, func() {
			_ = write(n.diskFile(), "")
			l.reviveNode(n)
		}, nil
	}
}

// reviveNode starts a node again that may have ended by its disk.
func (l *Lab) reviveNode(n *node) {
	const itsEnd = 200 * time.Millisecond
	time.Sleep(itsEnd)
	l.mustStart(n)
	l.nemesis.give(n.host)
}

func (l *Lab) fill(ctx context.Context, r *rand.Rand) (string, func(), error) {
	n := l.pickNode(ctx, r, r.IntN(3) > 0)
	if n == nil {
		return "", nil, nil
	}
	empty, err := fillDisk(n.dir)
	if err != nil {
		l.nemesis.give(n.host)
		return "", nil, err
	}
	return n.name, func() {
		empty()
		l.reviveNode(n)
	}, nil
}

// counts gives how often each kind of fault was made.
func faultCounts(h history.History) map[string]int {
	out := map[string]int{}
	for _, e := range h {
		if e.Kind == history.FaultBegin {
			out[e.Op]++
		}
	}
	return out
}

// inOrder gives the keys of a map of counts, the most frequent first.
func inOrder(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if d := counts[b] - counts[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}
