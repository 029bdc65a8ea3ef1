package fsm

import (
	"slices"

	"github.com/limpet-dev/limpet/internal/bugs"
)

// Mode is what an operator, or the worker's own shutdown, set it to.
type Mode uint8

// The modes.
const (
	ModeActive Mode = iota
	// ModePaused: takes nothing new; keeps its pins.
	ModePaused
	// ModeDraining: takes nothing new but tasks of runs pinned HARD to it; SOFT
	// pins move away.
	ModeDraining
)

// String gives active, paused or draining.
func (m Mode) String() string {
	switch m {
	case ModePaused:
		return "paused"
	case ModeDraining:
		return "draining"
	case ModeActive:
	}
	return "active"
}

// verb is what an operator does to set the mode.
func (m Mode) verb() string {
	switch m {
	case ModePaused:
		return "pause"
	case ModeDraining:
		return "drain"
	case ModeActive:
	}
	return "resume"
}

// Worker is a long-lived process that executes tasks.
type Worker struct {
	ID      WorkerID
	Tenant  TenantID
	Name    string
	Actions []string // lower case, sorted
	Slots   []Slots  // capacity, sorted by type
	Used    []Slots  // in use; same types as Slots, in the same order
	Labels  []Label  // sorted by key
	Mode    Mode
	Lease   Lease

	SDK             string
	SDKVersion      string
	LanguageVersion string
	OS              string

	RegisteredAt   Instant
	RegisteredWall int64
	// LastAssigned is the machine's Seq at the latest assignment: the tie-break
	// between equally loaded workers.
	LastAssigned Seq

	// Identity names the worker's place; empty for none. Who registers with it
	// again, and with the same Generation, is this worker.
	Identity string
	// Incarnation is the start of the process that holds the id now.
	Incarnation string
	// Generation names the state at the place.
	Generation string
	// Member is the process's name in gossip; empty if it does not gossip.
	Member string

	// DrainBy is when a draining worker leaves, whatever it holds; 0 for never.
	DrainBy Instant
	// Drained: nothing was left, or DrainBy has passed.
	Drained bool
	// OwnMode: the worker's process asked for the mode itself, so that it ends with
	// the process.
	OwnMode bool
	// Paused: an operator had paused the worker before its process asked for
	// OwnMode; it is paused again when that ends.
	Paused bool
	// Flaps counts the leases lost of late, FlapAt is the last of them, and until
	// QuietUntil the worker is the last choice (0: it is not).
	Flaps      int32
	FlapAt     Instant
	QuietUntil Instant

	profile profileKey // derived: what the scheduler groups workers by
	brand   *brand
}

func (w *Worker) fields(c *codec) {
	str(c, 1, &w.ID)
	str(c, 2, &w.Tenant)
	str(c, 3, &w.Name)
	strs(c, 4, &w.Actions)
	subs(c, 5, &w.Slots)
	subs(c, 6, &w.Used)
	subs(c, 7, &w.Labels)
	num(c, 8, &w.Mode)
	sub(c, 9, &w.Lease)
	str(c, 10, &w.SDK)
	str(c, 11, &w.SDKVersion)
	str(c, 12, &w.LanguageVersion)
	str(c, 13, &w.OS)
	num(c, 14, &w.RegisteredAt)
	num(c, 15, &w.RegisteredWall)
	num(c, 16, &w.LastAssigned)
	str(c, 17, &w.Identity)
	str(c, 18, &w.Incarnation)
	str(c, 19, &w.Generation)
	str(c, 20, &w.Member)
	num(c, 21, &w.DrainBy)
	flag(c, 22, &w.Drained)
	num(c, 23, &w.Flaps)
	num(c, 24, &w.FlapAt)
	num(c, 25, &w.QuietUntil)
	flag(c, 26, &w.OwnMode)
	flag(c, 27, &w.Paused)
}

// endOwnMode gives the worker the mode that it has without what its process asked
// for.
func (w *Worker) endOwnMode() {
	w.Mode, w.DrainBy, w.Drained, w.OwnMode = ModeActive, 0, false, false
	if w.Paused {
		w.Mode, w.Paused = ModePaused, false
	}
}

// HasAction reports whether the worker registered the action.
func (w *Worker) HasAction(action string) bool {
	lo, hi := 0, len(w.Actions)
	for lo < hi {
		mid := (lo + hi) / 2
		if w.Actions[mid] < action {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(w.Actions) && w.Actions[lo] == action
}

// Fits reports whether the worker has the requested units free now.
func (w *Worker) Fits(request []Slots) bool {
	for i := range request {
		j := w.slotIndex(request[i].Type)
		if j < 0 || w.Slots[j].Units-w.Used[j].Units < request[i].Units {
			return false
		}
	}
	return true
}

// CouldFit reports whether the worker would have the units if it were idle.
func (w *Worker) CouldFit(request []Slots) bool {
	for i := range request {
		j := w.slotIndex(request[i].Type)
		if j < 0 || w.Slots[j].Units < request[i].Units {
			return false
		}
	}
	return true
}

// Unavailable reports whether SOFT task runs should go elsewhere at once: the
// lease is lost, or the worker is paused or draining. A suspect lease is not
// yet unavailable: the worker most likely comes back (docs/architecture.md,
// leases).
func (w *Worker) Unavailable() bool {
	return w.Lease.State == LeaseLost || w.Mode != ModeActive || bugs.On(bugs.SuspectMoves) && w.Lease.State == LeaseSuspect
}

// open reports whether the worker may be given unpinned work now.
func (w *Worker) open() bool {
	return w.Lease.State == LeaseLive && w.Mode == ModeActive && w.hasFree()
}

// hasFree reports whether any unit of any slot type is free.
func (w *Worker) hasFree() bool {
	for j := range w.Slots {
		if w.Used[j].Units < w.Slots[j].Units {
			return true
		}
	}
	return false
}

func (w *Worker) slotIndex(t string) int {
	for j := range w.Slots {
		if w.Slots[j].Type == t {
			return j
		}
	}
	return -1
}

// take gives a copy of the worker with the units counted as used (sign 1) or
// free again (sign -1).
func (w *Worker) take(request []Slots, sign int32) *Worker {
	n := *w
	n.Used = slices.Clone(w.Used)
	n.count(request, sign)
	return &n
}

func (w *Worker) count(request []Slots, sign int32) {
	for i := range request {
		if j := w.slotIndex(request[i].Type); j >= 0 {
			w.Used[j].Units = max(0, w.Used[j].Units+sign*request[i].Units)
		}
	}
}

// quietLoad is what being quiet adds to a worker's load: it comes after every
// worker that is not, even a full one.
const quietLoad = 2000

// Load is the share of the worker's units in use, in thousandths; a worker that
// is quiet counts as more than full.
func (w *Worker) Load() int64 {
	if w.QuietUntil != 0 {
		return w.share() + quietLoad
	}
	return w.share()
}

func (w *Worker) share() int64 {
	var used, total int64
	for j := range w.Slots {
		used += int64(w.Used[j].Units)
		total += int64(w.Slots[j].Units)
	}
	if total == 0 {
		return 1000
	}
	return used * 1000 / total
}
