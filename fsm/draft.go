package fsm

import (
	"fmt"
	"slices"
)

// Draft is an entry of the log in the making, applied to its machine as it
// grows: the machine is ahead of the log by it. The leader's proposer makes one
// on its own machine, adds the commands that wait, and lets the scheduler add
// what follows from them. Applying [Draft.Entry] elsewhere gives what the draft
// gave.
type Draft struct {
	m       *Machine
	entry   Entry
	begun   Outcome // of the stamp alone
	results []Result
}

// Draft begins an entry. Until it is done with, the machine is only changed
// through it.
func (m *Machine) Draft(stamp Stamp) *Draft {
	return &Draft{m: m, entry: Entry{Stamp: stamp}, begun: m.Begin(stamp)}
}

// Add applies commands and makes them part of the entry, also if they are
// refused.
func (d *Draft) Add(cmds ...Command) []Result { return d.AddEncoded(cmds, nil) }

// AddEncoded is Add for commands whose bytes are known: as many as there are, in the
// order of the commands; empty for one that is to be encoded. Both must not be
// changed any more.
func (d *Draft) AddEncoded(cmds []Command, data [][]byte) []Result {
	if len(data) > 0 {
		if len(data) != len(cmds) { // the log would have other commands than the head
			panic(fmt.Sprintf("fsm: %d encoded commands for %d", len(data), len(cmds)))
		}
		d.entry.encoded = append(slices.Grow(d.entry.encoded, len(data)), make([][]byte, len(d.entry.Commands)-len(d.entry.encoded))...)
		d.entry.encoded = append(d.entry.encoded, data...)
	}
	from := len(d.results)
	d.entry.Commands = append(slices.Grow(d.entry.Commands, len(cmds)), cmds...)
	d.results = slices.Grow(d.results, len(cmds))
	d.m.effects = slices.Grow(d.m.effects, effectsOfOne*len(cmds))
	for _, c := range cmds {
		d.results = append(d.results, d.m.applyOne(c))
	}
	return d.results[from:]
}

// Try adds a command unless it is refused: then it is as if it had never been
// tried, and the reason is given.
func (d *Draft) Try(c Command) *Refusal {
	before, fenced := d.m.st.seq, d.m.fenced
	r := d.m.applyOne(c)
	if r.Refusal != nil {
		d.m.st.seq, d.m.fenced = before, fenced
		return r.Refusal
	}
	d.entry.Commands, d.results = append(d.entry.Commands, c), append(d.results, r)
	return nil
}

// View is the state with the draft applied, good until more is added, as by
// [Machine.Peek].
func (d *Draft) View() View { return d.m.Peek() }

// Len is the number of commands in the draft.
func (d *Draft) Len() int { return len(d.entry.Commands) }

// Entry is what belongs into the log.
func (d *Draft) Entry() *Entry { return &d.entry }

// Outcome is what applying the entry gives.
func (d *Draft) Outcome() Outcome {
	out := d.begun
	out.Results, out.Effects, out.Fenced = d.results, d.m.effects, d.m.fenced
	return out
}
