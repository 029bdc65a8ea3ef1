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
}
