// Package bugs names faults that can be put into the code on purpose, to see
// whether the fault lab finds them. In an ordinary build there are none: On is
// false for the compiler, and what it guards is left out of the binary. A build
// with the tag limpet_bugs has the one that LIMPET_BUG names.
package bugs

// Bug names one fault.
type Bug string

// The faults.
const (
	// AckEarly: the leader answers its own callers before their commands are
	// committed.
	AckEarly Bug = "ack-before-commit"
	// AssignEarly: the leader's sessions send what is assigned on its head, which
	// is lost when it is deposed.
	AssignEarly Bug = "assign-uncommitted"
	// RestoreNoPins: a snapshot is restored without its pins.
	RestoreNoPins Bug = "restore-forgets-pins"
	// RestoreEpochs: a snapshot is restored with all epochs at 1.
	RestoreEpochs Bug = "restore-resets-epochs"
	// WallClock: cluster time follows the leader's wall clock.
	WallClock Bug = "wall-clock"
	// NoFence: a completion is accepted whatever its attempt.
	NoFence Bug = "accept-fenced"
	// NoResend: what an earlier stream may have delivered is not sent again.
	NoResend Bug = "no-resend"
	// DoubleFree: a slot is given back twice.
	DoubleFree Bug = "double-free"
	// HardMoves: a HARD task goes elsewhere when its worker is full.
	HardMoves Bug = "hard-moves-when-full"
	// PinOnLeader: a pin is on the leader's head and never in the applied state.
	PinOnLeader Bug = "pin-not-replicated"
	// MapOrder: the order of a map decides something in the state.
	MapOrder Bug = "map-order"
	// EarlyExpiry: a new leader gives leases no fresh TTL.
	EarlyExpiry Bug = "lease-expires-after-election"
	// NoDedup: request ids are not remembered.
	NoDedup Bug = "no-dedup"
	// StaleRead: a leader answers linearizable reads without asking whether it
	// still is one.
	StaleRead Bug = "stale-read"
	// SuspectMoves: a SOFT pin moves as soon as its worker's stream broke.
	SuspectMoves Bug = "suspect-moves-pin"
)

// All gives them, in the order of their table.
func All() []Bug {
	return []Bug{
		AckEarly, AssignEarly, RestoreNoPins, RestoreEpochs, WallClock, NoFence, NoResend, DoubleFree, HardMoves, PinOnLeader,
		MapOrder, EarlyExpiry, NoDedup, StaleRead, SuspectMoves,
	}
}
