package fsm

// LeaseState says whether a worker may be counted on.
//
//	           attach                    detach, node gone
//	Suspect ───────────> Live ────────────────────────────> Suspect
//	(registered)          ^                                    │ LoseLease
//	                      └──────── attach, epoch + 1 ── Lost <┘
type LeaseState uint8

// The states of a lease. A worker's Mode (paused, draining) is kept beside it.
const (
	// LeaseSuspect: no session; the worker has registered and not yet attached,
	// or its stream or its node is gone. Its pins and its running attempts are
	// kept; nothing new is given to it.
	LeaseSuspect LeaseState = iota
	// LeaseLive: a session is open.
	LeaseLive
	// LeaseLost: given up. Its attempts were queued again; SOFT pins may move.
	LeaseLost
)

// String gives live, suspect or lost.
func (s LeaseState) String() string {
	switch s {
	case LeaseLive:
		return "live"
	case LeaseLost:
		return "lost"
	case LeaseSuspect:
	}
	return "suspect"
}

// Lease is the record that a worker may hold work.
type Lease struct {
	// Epoch grows each time the worker is admitted again after a loss.
	Epoch int64
	State LeaseState
	// Node and Session are the holder of the newest stream; kept, for display,
	// after it ended.
	Node    NodeID
	Session SessionID
	// Since is when State was entered.
	Since     Instant
	SinceWall int64
	// Reason says in words why the lease is suspect or lost.
	Reason string
}

func (l *Lease) fields(c *codec) {
	num(c, 1, &l.Epoch)
	num(c, 2, &l.State)
	str(c, 3, &l.Node)
	str(c, 4, &l.Session)
	num(c, 5, &l.Since)
	num(c, 6, &l.SinceWall)
	str(c, 7, &l.Reason)
}
