package sim

import "time"

// Named is a scenario with a script of its own.
type Named struct {
	Name  string
	Steps []Step
}

// NamedPlans are situations that have broken other systems, or could break this
// one. Each is played with calls of all kinds around it; a seed decides what is
// left open.
func NamedPlans() []Named {
	const s = time.Second
	return append(diskPlans(), []Named{
		{"leader-isolated-with-its-workers", []Step{
			{At: 4 * s, For: 6 * s, Do: Alone},
			{At: 4 * s, For: 6 * s, Do: WorkerCut, Who: []string{"w1", "n2", "n3"}},
			{At: 4 * s, For: 6 * s, Do: WorkerCut, Who: []string{"w2", "n1", "n2"}},
		}},
		{"worker-and-leader-die-together", []Step{
			{At: 5 * s, For: 4 * s, Do: CrashLead},
			{At: 5 * s, For: 12 * s, Do: WorkerCrash, Who: []string{"w1"}},
			{At: 5 * s, For: 3 * s, Do: WorkerCrash, Who: []string{"w2"}},
		}},
		{"node-cut-from-the-leader-and-not-from-its-workers", []Step{
			{At: 4 * s, For: 7 * s, Do: Split, Who: []string{"n2"}},
			{At: 13 * s, For: 5 * s, Do: Split, Who: []string{"n3"}},
		}},
		{"all-nodes-killed-at-once", []Step{{At: 5 * s, For: 2 * s, Do: CrashAll}, {At: 14 * s, For: 8 * s, Do: CrashAll, Keep: true}}},
		{"clocks-an-hour-ahead-and-behind", []Step{
			{At: 4 * s, Do: ClockJump, Who: []string{"n1"}, By: time.Hour},
			{At: 5 * s, Do: ClockJump, Who: []string{"n2"}, By: -time.Hour},
			{At: 9 * s, Do: ClockJump, Who: []string{"n1"}, By: -time.Hour},
			{At: 10 * s, For: 2 * s, Do: CrashLead},
			{At: 14 * s, Do: ClockJump, Who: []string{"n2"}, By: time.Hour},
			{At: 16 * s, Do: ClockDrift, Who: []string{"n3"}, By: 300 * time.Millisecond},
		}},
		{"zombie-returns", []Step{
			{At: 3 * s, For: 12 * s, Do: WorkerZombie, Who: []string{"w1"}},
			{At: 5 * s, For: 14 * s, Do: WorkerFreeze, Who: []string{"w2"}},
		}},
		{"snapshot-for-a-node-far-behind", []Step{
			{At: 2 * s, For: 14 * s, Do: Crash, Who: []string{"n3"}},
			{At: 18 * s, For: 2 * s, Do: CrashLead},
		}},
		{"election-during-drain", []Step{
			{At: 5 * s, For: 6 * s, Do: Drain, Who: []string{"w1"}},
			{At: 5500 * time.Millisecond, For: 4 * s, Do: Alone},
			{At: 14 * s, For: 6 * s, Do: Drain, Who: []string{"w2"}},
			{At: 14200 * time.Millisecond, Do: Transfer},
		}},
		{"replay-during-election", []Step{
			{At: 8 * s, For: 3 * s, Do: CrashLead},
			{At: 8100 * time.Millisecond, Do: Replay},
			{At: 8500 * time.Millisecond, Do: Replay},
			{At: 15 * s, For: 3 * s, Do: Alone},
			{At: 15500 * time.Millisecond, Do: Replay},
			{At: 16 * s, Do: Replay},
		}},
		{"trigger-repeated-after-an-unknown-outcome", []Step{
			{At: 4 * s, For: 3 * s, Do: OneWay, Who: []string{"n1"}},
			{At: 4100 * time.Millisecond, Do: Trigger, Who: []string{"hard-one"}},
			{At: 8 * s, For: 3 * s, Do: OneWay, Who: []string{"n2"}},
			{At: 8100 * time.Millisecond, Do: Trigger, Who: []string{"soft-one"}},
			{At: 12 * s, For: 3 * s, Do: CrashLead},
			{At: 12001 * time.Millisecond, Do: Trigger, Who: []string{"hard"}},
			{At: 17 * s, For: 4 * s, Do: Alone},
			{At: 17100 * time.Millisecond, Do: Trigger, Who: []string{"soft"}},
		}},
		{"half-a-minute-without-quorum", []Step{{At: 5 * s, For: 30 * s, Do: Crash, Who: []string{"n1", "n2"}}}},
	}...)
}

// diskPlans are those about disks.
func diskPlans() []Named {
	const s = time.Second
	return []Named{
		{"disk-full", []Step{
			{At: 4 * s, For: 5 * s, Do: FullDisk, Who: []string{"n1"}},
			{At: 11 * s, For: 5 * s, Do: FullDisk, Who: []string{"n2"}},
			{At: 18 * s, For: 3 * s, Do: FullDisk, Who: []string{"n3"}},
		}},
		{"disks-fickle", []Step{
			{At: 3 * s, For: 11 * s, Do: FickleDisk, Who: []string{"n1"}, By: 1},
			{At: 5 * s, For: 1500 * time.Millisecond, Do: Alone},
			{At: 8 * s, For: 14 * s, Do: FickleDisk, Who: []string{"n2"}, By: 2},
			{At: 9 * s, For: 1500 * time.Millisecond, Do: Alone},
			{At: 12 * s, For: 1500 * time.Millisecond, Do: Alone},
			{At: 13 * s, For: 1 * s, Do: CrashAll, Keep: true},
			{At: 15 * s, For: 9 * s, Do: FickleDisk, Who: []string{"n3"}, By: 3},
			{At: 16 * s, For: 1500 * time.Millisecond, Do: Alone},
			{At: 20 * s, For: 1 * s, Do: CrashLead, Keep: true},
		}},
	}
}

// Plan gives the named scenario with the calls, the workers and the timings of a
// seed.
func (n Named) Plan(seed uint64) *Plan {
	p := NewPlan(seed)
	p.Nodes = 3
	steps := p.Steps[:0]
	for _, s := range p.Steps {
		if isCall(s.Do) && s.Do != Pause && s.Do != Drain {
			steps = append(steps, s)
		}
	}
	p.Steps = append(steps, n.Steps...)
	for _, s := range n.Steps {
		p.Length = max(p.Length, s.At+s.For+time.Second)
	}
	p.sort()
	return p
}

func isCall(a Act) bool {
	switch a {
	case Trigger, Cancel, Replay, Push, Read, Release, Drain, Pause:
		return true
	}
	return false
}
