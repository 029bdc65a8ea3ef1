package fsm

import (
	"slices"

	"github.com/limpet-dev/limpet/internal/bugs"
)

// Limits of the work that one entry may cause by itself.
const (
	// MaxDeadlines is how many deadlines fire in one entry at most; the rest
	// fire in the next.
	MaxDeadlines = 256
	// minPurge is how many finished runs, or requests, are forgotten in one entry
	// at most; more if far more are too many, so that large entries do not make
	// them faster than they go.
	minPurge = 64
	maxPurge = 2048

	// effectsOfOne is about how many effects a command has.
	effectsOfOne = 3
)

// Machine is the replicated state machine. See the package comment for what it
// asks of its owner.
type Machine struct {
	st      *State
	effects []Effect
	from    int // where the effects of the command begin that is applied
	fenced  int
	// lost are task runs that wait for a worker that is lost, seen since the
	// latest call of heedLosses.
	lost []TaskRunID
}

// NewMachine gives the machine of an empty log.
func NewMachine() *Machine { return machineOf(newState()) }

// machineOf gives the machine that owns a state.
func machineOf(s *State) *Machine {
	s.runs.on, s.tasks.on = true, true
	return &Machine{st: s}
}

// Apply applies one entry of the log.
func (m *Machine) Apply(e *Entry) Outcome {
	out := m.Begin(e.Stamp)
	rest := m.ApplyCommands(e.Commands)
	out.Results = rest.Results
	out.Effects = append(out.Effects, rest.Effects...)
	out.Fenced += rest.Fenced
	if bugs.On(bugs.PinOnLeader) {
		m.forgetFirstPins()
	}
	return out
}

// Begin is the first half of [Machine.Apply]: it moves cluster time to the
// stamp, fires what is due and forgets what is old. Begin and then any split of
// the commands gives what Apply gives; a [Draft] rests on that.
func (m *Machine) Begin(stamp Stamp) Outcome {
	m.effects, m.from, m.fenced = nil, 0, 0
	s := m.st
	s.stamp = Stamp{Instant: max(s.stamp.Instant, stamp.Instant), Wall: stamp.Wall}
	fired := m.fireDeadlines()
	forgotten := m.purge()
	return Outcome{Effects: m.effects, Deadlines: fired, Fenced: m.fenced, Forgotten: forgotten}
}

// ApplyCommands is the second half of [Machine.Apply].
func (m *Machine) ApplyCommands(cmds []Command) Outcome {
	m.effects, m.fenced = make([]Effect, 0, effectsOfOne*len(cmds)), 0
	results := make([]Result, 0, len(cmds))
	for _, c := range cmds {
		results = append(results, m.applyOne(c))
	}
	return Outcome{Results: results, Effects: m.effects, Fenced: m.fenced}
}

// Clone gives a copy that shares nothing mutable: O(1). The leader speculates
// on one.
func (m *Machine) Clone() *Machine { return machineOf(m.st.clone()) }

// View gives a frozen copy for readers: O(1).
func (m *Machine) View() View { return View{st: m.st.clone()} }

// Peek gives a view of the machine itself, not frozen: it is good only until
// the next Apply and only for the goroutine that owns the machine, and so is what
// [View.At] makes of it. Workers that it gives change with the machine.
func (m *Machine) Peek() View { return View{st: m.st} }

// Stamp gives the stamp of the latest entry.
func (m *Machine) Stamp() Stamp { return m.st.stamp }

// effect asks for a wake-up, unless the same command, or another deadline, has just
// done so: what it does to a run it mostly says several times.
func (m *Machine) effect(kind EffectKind, id string) {
	const few = 4
	e := Effect{kind, id}
	if !slices.Contains(m.effects[max(m.from, len(m.effects)-few):], e) {
		m.effects = append(m.effects, e)
	}
}

func (m *Machine) taskChanged(t *TaskRun) { m.effect(RunChanged, string(t.Run)) }

// forgetFirstPins is a deliberate bug: pins that the scheduler set are kept by
// the leader's head only.
func (m *Machine) forgetFirstPins() {
	var runs []RunID
	m.st.pins.Scan(func(id RunID, p *Pin) bool {
		if p.Cause == PinFirst {
			runs = append(runs, id)
		}
		return true
	})
	for _, id := range runs {
		m.st.setPin(id, nil)
	}
}
