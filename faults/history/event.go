package history

import "time"

// Kind says what an event tells. Its first word is who tells it: a client and a
// worker about themselves, a node about itself, the state as it was applied, and
// the lab about the faults that it made.
type Kind string

// What clients tell. Op names the call and Call tells one call from another.
// An answer has the Call of its Invoke; a call without an answer, or with
// Unknown, may have happened at any time after it, or never. With Refused it
// certainly never does.
const (
	Invoke  Kind = "client.invoke"
	OK      Kind = "client.ok"
	Refused Kind = "client.refused"
	Unknown Kind = "client.unknown"
	// Subscribed: Client waits for the result of Run from now on, whatever node
	// it is connected to.
	Subscribed Kind = "client.subscribed"
	// Delivered: Client was told the result of Run: Status and Output.
	Delivered Kind = "client.delivered"
	// GaveUp: Client waits for the result of Run no longer.
	GaveUp Kind = "client.gave-up"
)

// What workers tell, from what they wrote down themselves.
const (
	// Ordered: an assignment (TaskRun, Attempt) came down the stream from Node.
	Ordered Kind = "worker.ordered"
	// Begin, End and Cut are about the body of a task. Cut: it was killed, with
	// its process or by an order to cancel.
	Begin Kind = "worker.begin"
	End   Kind = "worker.end"
	Cut   Kind = "worker.cut"
	// Report: Op (started, completed, failed) of TaskRun and Attempt was sent
	// with Output; Reported: it was acknowledged. Status is Accepted, Fenced or
	// empty if the worker cannot know.
	Report   Kind = "worker.report"
	Reported Kind = "worker.reported"
	// Heartbeat: Node acknowledged a sign of life.
	Heartbeat Kind = "worker.heartbeat"

	WorkerStart  Kind = "worker.start" // with Slots
	WorkerStop   Kind = "worker.stop"
	WorkerFreeze Kind = "worker.freeze"
	WorkerThaw   Kind = "worker.thaw"
	// WorkerAttach and WorkerDetach: a stream of assignments was opened at Node,
	// and has ended.
	WorkerAttach Kind = "worker.attach"
	WorkerDetach Kind = "worker.detach"
)

// What nodes tell, or the lab about them.
const (
	NodeStart Kind = "node.start"
	// NodeStop: Detail tells how it ended; Cause is the signal by which the lab
	// asked for that, or empty.
	NodeStop Kind = "node.stop"
	// Leader: Node was elected for Term.
	Leader Kind = "node.leader"
	// Proposed: Node wrote the entry Index of Term into the log first.
	Proposed Kind = "node.proposed"
	// Restored: Node took a snapshot over in place of its state.
	Restored Kind = "node.restored"
	// Hash: the state of Node after entry Index, or at the seq Seq, had the hash
	// Hash.
	Hash Kind = "node.hash"
)

// What the applied state tells, in the order of the log. They are told once,
// whatever node applied first.
const (
	// Pinned: Run belongs to Worker, and to From before; Cause as in the state.
	Pinned   Kind = "state.pinned"
	Unpinned Kind = "state.unpinned"
	// Lease: Worker's lease is at Epoch, Status (live, suspect, lost) and Mode.
	Lease Kind = "state.lease"
	// Assigned: TaskRun is given to Worker with Attempt and Epoch. Cause is the
	// scheduler's reason. Lender is the task run whose slots it takes.
	Assigned Kind = "state.assigned"
	// Begun: TaskRun is executed by Worker as Attempt.
	Begun Kind = "state.begun"
	// Ended: the assignment of TaskRun is over; Status is what it has become.
	Ended Kind = "state.ended"
	// RunFinal: Run has ended with Status and Output.
	RunFinal Kind = "state.final"
	// Fired: a deadline of TaskRun, Worker or Run; Cause names it. It may not come
	// earlier than Limit after Since.
	Fired Kind = "state.fired"
	// Kept: at the end of the history the state holds Run with Status and
	// Output, or the event with the id Detail.
	Kept Kind = "state.kept"
)

// What the lab tells.
const (
	FaultBegin Kind = "fault.begin"
	FaultEnd   Kind = "fault.end"
	// Healed: there is no fault from here on.
	Healed Kind = "lab.healed"
	// Rest: the lab has waited long enough for everything to end. It is followed
	// by Kept only.
	Rest Kind = "lab.rest"
)

// The calls: values of Op.
const (
	OpTrigger   = "trigger"
	OpCancel    = "cancel"
	OpReplay    = "replay"
	OpEvent     = "event"
	OpRead      = "read"
	OpDrain     = "drain"
	OpResume    = "resume"
	OpRelease   = "release"
	OpMove      = "move"
	OpStarted   = "started"
	OpCompleted = "completed"
	OpFailed    = "failed"
)

// Values of Status of an answered report.
const (
	Accepted = "accepted"
	Fenced   = "fenced"
)

// Values of Strategy.
const (
	Soft = "SOFT"
	Hard = "HARD"
)

// Final values of Status of runs and task runs.
const (
	Completed = "COMPLETED"
	Failed    = "FAILED"
	Cancelled = "CANCELLED"
	Skipped   = "SKIPPED"
)

// Values of Status and Mode of a lease.
const (
	LeaseLive    = "live"
	LeaseSuspect = "suspect"
	LeaseLost    = "lost"
	ModeActive   = "active"
	ModePaused   = "paused"
	ModeDraining = "draining"
)

// Event is one line of a history. One flat type for all kinds: a field that a
// kind does not need is empty and not written.
type Event struct {
	// At is the true time since the history began, whatever the clocks of nodes
	// said.
	At   time.Duration `json:"at"`
	Kind Kind          `json:"kind"`

	Node   string `json:"node,omitempty"`
	Client string `json:"client,omitempty"`
	Op     string `json:"op,omitempty"`
	Call   string `json:"call,omitempty"`

	Worker      string `json:"worker,omitempty"`
	Incarnation string `json:"incarnation,omitempty"`
	Run         string `json:"run,omitempty"`
	TaskRun     string `json:"task_run,omitempty"`
	Task        string `json:"task,omitempty"`
	Attempt     int32  `json:"attempt,omitempty"`
	Epoch       int64  `json:"epoch,omitempty"`
	Lender      string `json:"lender,omitempty"`
	Slots       int    `json:"slots,omitempty"`

	Term  uint64 `json:"term,omitempty"`
	Index uint64 `json:"index,omitempty"`
	Seq   uint64 `json:"seq,omitempty"`
	Hash  string `json:"hash,omitempty"`

	Strategy string `json:"strategy,omitempty"`
	From     string `json:"from,omitempty"`
	Cause    string `json:"cause,omitempty"`
	Status   string `json:"status,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Output   string `json:"output,omitempty"`
	Detail   string `json:"detail,omitempty"`

	// Since and Limit are of deadlines: when the waiting began, and how long it
	// had to be at least.
	Since time.Duration `json:"since,omitempty"`
	Limit time.Duration `json:"limit,omitempty"`
}

// History is what happened, in the order in which it was recorded.
type History []Event

// Final reports whether nothing comes after that status of a run or task run.
func Final(status string) bool {
	switch status {
	case Completed, Failed, Cancelled, Skipped:
		return true
	}
	return false
}
