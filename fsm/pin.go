package fsm

// PinCause says how a pin came to its worker.
type PinCause uint8

// The causes.
const (
	// PinDesired: the trigger named the worker.
	PinDesired PinCause = iota + 1
	// PinFirst: the run's first assignment.
	PinFirst
	// PinMoved: SOFT, and the worker before was lost or draining.
	PinMoved
	// PinAgain: the first assignment after the pin before was cleared, by an
	// operator or because the run is to be pinned anew when its worker is lost.
	PinAgain
	// PinOperator: an operator moved the run there.
	PinOperator
)

// String gives the cause in words.
func (p PinCause) String() string {
	switch p {
	case PinDesired:
		return "desired at trigger"
	case PinFirst:
		return "first assignment"
	case PinMoved:
		return "moved"
	case PinAgain:
		return "pinned anew"
	case PinOperator:
		return "moved by an operator"
	}
	return "none"
}

// Pin is the record "this run belongs to this worker". A run has one at most.
type Pin struct {
	Run      RunID
	Tenant   TenantID
	Strategy Strategy
	Worker   WorkerID
	Cause    PinCause
	Seq      Seq
	Since    Instant
	Wall     int64
	// Moves counts changes of the worker; Overflows counts tasks that another
	// worker took without a move.
	Moves     int32
	Overflows int32
	// From is the worker before the latest move.
	From WorkerID
}

func (p *Pin) fields(c *codec) {
	str(c, 1, &p.Run)
	name(c, 2, &p.Tenant)
	num(c, 3, &p.Strategy)
	name(c, 4, &p.Worker)
	num(c, 5, &p.Cause)
	num(c, 6, &p.Seq)
	num(c, 7, &p.Since)
	num(c, 8, &p.Wall)
	num(c, 9, &p.Moves)
	num(c, 10, &p.Overflows)
	str(c, 11, &p.From)
}
