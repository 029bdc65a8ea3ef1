package fsm

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
