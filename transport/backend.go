package transport

import (
	"context"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// Backend is what transport needs of the node that it listens for.
type Backend interface {
	// Name is this node's id, and Incarnation a text that is new at each start
	// of its process; session ids begin with the incarnation.
	Name() fsm.NodeID
	Incarnation() string

	// View is this node's applied state, now.
	View() fsm.View

	// ProposeWithin hands a command to the leader, wherever that is, and answers
	// after this node has applied it, so that the caller reads its own write.
	// It fills in the command's request id. It waits no longer than hold, also for a
	// leader, and until ctx ends; callers of one command as long as the most patient.
	// A refusal comes in the Result, not as an error; an error means that the outcome is
	// unknown or that there was no quorum in time; but one that wraps ErrOverloaded that
	// nothing was done.
	ProposeWithin(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error)

	// Vouch notes that a worker was heard of at this node. It never blocks and
	// needs no leader.
	Vouch(worker fsm.WorkerID)

	// Barrier returns once this node has applied all that was committed when
	// it was called: a read of View after it is linearizable.
	Barrier(ctx context.Context) error

	// Past finds a finished run that the state has forgotten, by its id or by that
	// of one of its task runs, in the history of this node or of another. Nil means
	// that there is none in any that can be asked. [fsm.View.Past] makes it readable.
	Past(ctx context.Context, id string) (*fsm.Archived, error)
	// PastRuns visits the finished runs in this node's history, those that ended
	// last first, until visit says no.
	PastRuns(visit func(*fsm.Archived) bool) error

	// ClusterStatus asks every node for its state.
	ClusterStatus(ctx context.Context) (ClusterStatus, error)
	// RemoveNode takes a node out of the Raft configuration. It is refused
	// when what remains would not have a live quorum; and, unless it is forced,
	// when the node is alive.
	RemoveNode(ctx context.Context, name fsm.NodeID, force bool) error
	// TransferLeadership hands leadership to another node.
	TransferLeadership(ctx context.Context) error
}

// ClusterStatus is one look at the whole cluster.
type ClusterStatus struct {
	ClusterID string
	Leader    fsm.NodeID // empty when there is none
	// Saturated: as far as this node knows, new runs are let in only as others end.
	Saturated bool
	Nodes     []NodeStatus
}

// NodeStatus is one node's own word on itself, or what others know of it when
// it does not answer.
type NodeStatus struct {
	Name      fsm.NodeID
	State     string // leader, follower, candidate, unreachable
	Voter     bool
	Gossip    string // alive, dead, left, unknown
	PeerAddr  string
	GRPCAddr  string
	HTTPAddr  string
	Version   string
	Term      uint64
	Commit    uint64 // raft index
	Applied   uint64 // raft index
	Seq       fsm.Seq
	StateHash string // hex, at Seq
	Workers   int    // sessions open at the node; -1 if not known
	Since     time.Duration
	Error     string // why the node could not be asked
}
