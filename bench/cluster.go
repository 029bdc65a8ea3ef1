package bench

import "context"

// Cluster is nodes on this machine that a measurement may kill and start.
type Cluster interface {
	// Leader is the number of the node that leads, from 0.
	Leader(ctx context.Context) (int, error)
	// Kill ends a node's process at once.
	Kill(n int) error
	// Start runs it again and returns when all nodes answer.
	Start(ctx context.Context, n int) error
}
