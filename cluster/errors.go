package cluster

// sentinelError is an error that callers branch on. It comes wrapped in a sentence.
type sentinelError string

// Error implements error.
func (s sentinelError) Error() string { return string(s) }

const (
	// ErrUnavailable says that there was no leader, no quorum or no answer in time. The
	// outcome is unknown; the same command may be proposed again.
	ErrUnavailable = sentinelError("the cluster did not answer in time; the outcome is unknown")
	// ErrOverloaded says that too many commands wait already. Nothing was done.
	ErrOverloaded = sentinelError("too many commands are waiting")
	// ErrRefused says that the change of membership is not safe. Nothing was done.
	ErrRefused = sentinelError("refused")
	// ErrNoNode says that the cluster has no node of that name. Nothing was done.
	ErrNoNode = sentinelError("no such node")
	// ErrClosed says that the node is stopping. Nothing was done.
	ErrClosed = sentinelError("the node is stopping")

	// errNotLeader says that another node must be asked.
	errNotLeader = sentinelError("this node is not the leader")
	// errNoHeir says that the node that was to lead did not answer.
	errNoHeir = sentinelError("the node that was to take over did not answer in time")
	// errDeposed says that this node's term is over.
	errDeposed = sentinelError("another term began")
	// errBroken says that a peer connection ended before the answer came.
	errBroken = sentinelError("the peer connection broke")
)
