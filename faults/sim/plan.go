package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/cluster"
)

// Plan is a scenario before it is played: all that a seed decides.
type Plan struct {
	Seed    uint64
	Nodes   int // that form the cluster
	Workers []WorkerPlan
	// Brisk: Raft's timings are those of a LAN, which cost more to play; else
	// they are Raft's defaults.
	Brisk bool
	Steps []Step
	// Length is when all faults heal.
	Length time.Duration
}

// WorkerPlan is one machine with a worker program.
type WorkerPlan struct {
	Slots    int
	Identity bool
}

// Step is one line of the script. A fault lasts for a while; a call does not.
type Step struct {
	At, For time.Duration
	Do      Act
	// Who is what it is about: nodes, workers, or the workflow to trigger.
	Who []string
	// Keep: a write that is under way at the crash is kept. By is an offset of a
	// clock, or the delay of a disk or way.
	Keep bool
	By   time.Duration
}

// Act is what a step does.
type Act string

// Calls of clients and operators.
const (
	Trigger Act = "trigger"
	Cancel  Act = "cancel"
	Replay  Act = "replay"
	Push    Act = "push"
	Read    Act = "read"
	Release Act = "release"
	Drain   Act = "drain"
	Pause   Act = "pause"
)

// Faults.
const (
	Split      Act = "split"       // Who | the other nodes
	OneWay     Act = "one-way"     // Who[0] cannot send to the other nodes
	Bridge     Act = "bridge"      // all but Who[0] are cut from each other
	Alone      Act = "alone"       // the leader is cut from the other nodes
	Weather    Act = "weather"     // delay, loss, repetition and disorder between the nodes
	Crash      Act = "crash"       // Who, started again
	CrashLead  Act = "crash-lead"  // the leader, started again
	CrashAll   Act = "crash-all"   // all nodes, started again
	Restart    Act = "restart"     // Who, with a goodbye
	Freeze     Act = "freeze"      // Who[0]: its links and its disk stand still
	SlowDisk   Act = "slow-disk"   // Who[0]
	FullDisk   Act = "full-disk"   // Who[0]
	FickleDisk Act = "fickle-disk" // Who[0]: a third of the writes fail, and half of those are done all the same, as By decides
	ClockJump  Act = "clock-jump"  // Who[0], by By
	ClockDrift Act = "clock-drift" // Who[0], by By a second
	Join       Act = "join"        // another node
	Transfer   Act = "transfer"    // of the leadership

	WorkerCrash  Act = "worker-crash"  // Who, started again
	WorkerFreeze Act = "worker-freeze" // Who
	WorkerZombie Act = "worker-zombie" // Who: frozen, and replaced in the meantime
	WorkerCut    Act = "worker-cut"    // Who[0] from the nodes of the rest
)

// String gives the step as a line of the script.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8.3fs  %s %s", s.At.Seconds(), s.Do, strings.Join(s.Who, ","))
	if s.By != 0 {
		fmt.Fprintf(&b, " by %v", s.By)
	}
	if s.Keep {
		b.WriteString(" keeping the last write")
	}
	if s.For != 0 {
		fmt.Fprintf(&b, " for %v", s.For)
	}
	return b.String()
}

// String gives the script.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d nodes, brisk %v, %v, workers", p.Seed, p.Nodes, p.Brisk, p.Length)
	for _, w := range p.Workers {
		fmt.Fprintf(&b, " %d", w.Slots)
		if w.Identity {
			b.WriteString("+identity")
		}
	}
	b.WriteByte('\n')
	for _, s := range p.Steps {
		b.WriteString(s.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func (p *Plan) tune(r *cluster.RaftConfig) {
	if !p.Brisk {
		r.Heartbeat, r.Election, r.Lease, r.CommitTimeout = time.Second, time.Second, 500*time.Millisecond, 50*time.Millisecond
	} else {
		r.CommitTimeout = 20 * time.Millisecond
	}
	// Raft sends 64 entries at a time: half of the plans keep more than that behind a
	// snapshot, so that a node gets old entries from another's log.
	const few, many = 64, 200
	r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = 2*time.Second, 48, few
	if p.Seed/2%2 == 1 {
		r.TrailingLogs = many
	}
}

// NewPlan makes the scenario of a seed.
func NewPlan(seed uint64) *Plan {
	d := dice{rand.New(rand.NewPCG(seed, 0))}
	p := &Plan{Seed: seed, Nodes: 3, Brisk: d.chance(0.3), Length: d.between(18*time.Second, 32*time.Second)}
	if d.chance(0.08) {
		p.Nodes = 5
	}
	for range 3 + d.IntN(3) {
		p.Workers = append(p.Workers, WorkerPlan{Slots: 1 + d.IntN(3), Identity: d.chance(0.5)})
	}
	d.calls(p)
	d.faults(p)
	p.sort()
	return p
}

func (p *Plan) sort() {
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return int(min(1, max(-1, a.At-b.At))) })
}

type dice struct{ *rand.Rand }

func (d dice) chance(p float64) bool { return d.Float64() < p }

func (d dice) between(low, high time.Duration) time.Duration {
	return (low + time.Duration(d.Int64N(int64(high-low)+1))).Round(time.Millisecond)
}

func (d dice) node(p *Plan) string   { return fmt.Sprintf("n%d", 1+d.IntN(p.Nodes)) }
func (d dice) worker(p *Plan) string { return fmt.Sprintf("w%d", 1+d.IntN(len(p.Workers))) }

func (d dice) calls(p *Plan) {
	list := flows()
	for range 16 + d.IntN(20) {
		s := Step{At: d.between(0, p.Length-time.Second)}
		switch n := d.IntN(100); {
		case n < 64:
			f := list[d.IntN(len(list))]
			s.Do, s.Who = Trigger, []string{f.name}
			if f.event != "" {
				s.Do, s.Who = Push, []string{f.event}
			}
		case n < 70:
			s.Do, s.Who = Push, []string{"go"}
		case n < 80:
			s.Do = Read
		case n < 84:
			s.Do = Cancel
		case n < 90:
			s.Do = Replay
		case n < 94:
			s.Do = Release
		case n < 98:
			s.Do, s.Who, s.For = Drain, []string{d.worker(p)}, d.between(2*time.Second, 8*time.Second)
		default:
			s.Do, s.Who, s.For = Pause, []string{d.worker(p)}, d.between(time.Second, 5*time.Second)
		}
		p.Steps = append(p.Steps, s)
	}
}

// faults strew faults over the scenario; some overlap.
func (d dice) faults(p *Plan) {
	low, high := 500*time.Millisecond, 4*time.Second
	calm := d.chance(0.3) // time enough between them to see what has to heal by itself
	if calm {
		low, high = 11*time.Second, 18*time.Second
	}
	for at := d.between(500*time.Millisecond, 3*time.Second); at < p.Length-2*time.Second; at += d.between(low, high) {
		s := Step{At: at, For: d.between(300*time.Millisecond, 5*time.Second)}
		d.fault(p, &s)
		if calm && d.chance(0.5) {
			s.Do, s.Who, s.For, s.By = WorkerCut, []string{d.worker(p), d.node(p), d.node(p)}, d.between(3*time.Second, 5*time.Second), 0
		}
		s.For = min(s.For, p.Length-s.At)
		p.Steps = append(p.Steps, s)
	}
}

func (d dice) fault(p *Plan, s *Step) {
	node, worker := []string{d.node(p)}, []string{d.worker(p)}
	kinds := []Act{
		Split, OneWay, Bridge, Alone, Alone, Weather, Weather, Crash, Crash, CrashLead, CrashLead, Restart, Freeze, SlowDisk, FullDisk, FickleDisk,
		ClockJump, ClockDrift, Transfer, WorkerCrash, WorkerCrash, WorkerFreeze, WorkerFreeze, WorkerZombie, WorkerCut, WorkerCut, WorkerCut,
	}
	switch d.IntN(40) {
	case 0:
		s.Do, s.Keep = CrashAll, d.chance(0.5)
		return
	case 1:
		s.Do, s.For = Join, 0
		return
	}
	s.Do, s.Who = kinds[d.IntN(len(kinds))], node
	switch s.Do {
	case Weather, Alone, Transfer:
		s.Who = nil
		if s.Do == Weather {
			s.By = d.between(2*time.Millisecond, 150*time.Millisecond)
		}
	case Crash, CrashLead:
		s.Keep = d.chance(0.5)
		if s.Do == CrashLead {
			s.Who = nil
		}
	case SlowDisk:
		s.By = d.between(20*time.Millisecond, 700*time.Millisecond)
	case FickleDisk:
		s.By = time.Duration(d.IntN(1 << 20))
	case ClockJump:
		s.By, s.For = d.between(-2*time.Hour, 2*time.Hour), 0
	case ClockDrift:
		s.By, s.For = d.between(-300*time.Millisecond, 300*time.Millisecond), 0
	case WorkerCrash, WorkerZombie:
		s.Who = worker
	case WorkerFreeze:
		s.Who, s.For = worker, d.between(time.Second, 12*time.Second)
	case WorkerCut:
		s.Who = append(worker, d.node(p), d.node(p))
	}
}
