package fsm

// Seq counts the commands that the machine has applied. Domain values use it
// and never the raft index.
type Seq uint64

// Result is what became of one command. A caller finds its own by RequestID.
type Result struct {
	RequestID string
	// Seq is the machine's count after this command.
	Seq Seq
	// IDs are the ids that the command created, found or changed, in the order
	// of the request: runs of TriggerRuns, {version, workflow} of PutWorkflow,
	// the worker of RegisterWorker, the tasks cancelled by CancelTasks.
	IDs []string
	// Refusal is set when the command was refused; it then changed nothing.
	Refusal *Refusal
	// Ignored says that the command was accepted without any change, because
	// what it reports was already so (a repeated report, for instance).
	Ignored bool
}

// Outcome is what applying one entry gave.
type Outcome struct {
	Results []Result
	Effects []Effect
	// Deadlines is the number of deadlines that fired.
	Deadlines int
	// Fenced counts reports refused because their attempt was fenced.
	Fenced int
	// Forgotten are the finished runs that left the state, oldest end first; no
	// run comes twice. Whoever keeps a history takes them from here.
	Forgotten []*Archived
}

// EffectKind says what kind of thing an effect names.
type EffectKind uint8

// The kinds of effect.
const (
	// WorkerChanged: the assignments, the lease or the labels of worker ID
	// changed; whoever holds its session compares what it sent with what is true.
	WorkerChanged EffectKind = iota + 1
	// RunChanged: run ID reached a final state or a task of it changed state.
	RunChanged
	// RunFinished: run ID is final; its waiters can be answered.
	RunFinished
	// Reset: anything may have changed (a snapshot was restored).
	Reset
)

// Effect is a wake-up that an applied command asks its own node for. It carries
// an id only: readers read the state.
type Effect struct {
	Kind EffectKind
	ID   string
}
