package cluster

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// logged counts what was applied since the latest snapshot, and says whether it is
// time for another.
//
// A snapshot writes the whole state, whatever has changed. With fixed thresholds a
// large state would be written again and again under a load that barely touches it.
// So the thresholds grow with the snapshot: at least as much log comes between two of
// them as each is long. All that snapshots write is then in proportion to
// the log, and what a restart reads to the state.
//
// All nodes apply the same log, so each draws a factor of its own for each snapshot:
// written at once, they would hold up every quorum instead of one node.
type logged struct {
	entries, bytes atomic.Uint64
	latest         atomic.Uint64 // length of the latest snapshot, in bytes
}

// add notes an applied entry.
func (l *logged) add(bytes int) {
	l.entries.Add(1)
	l.bytes.Add(uint64(bytes))
}

func (l *logged) reset() {
	l.entries.Store(0)
	l.bytes.Store(0)
}

// spread gives the factor of a node's next snapshot, from a number from 0 to 1.
func spread(drawn float64) float64 { return 1 + drawn/2 }

// due reports whether either threshold is reached, with the factor of this snapshot.
func (l *logged) due(c *RaftConfig, factor float64) (entries, bytes bool) {
	scale := factor * max(1, float64(l.latest.Load())/float64(c.SnapshotBytes))
	return float64(l.entries.Load()) >= scale*float64(c.SnapshotThreshold), float64(l.bytes.Load()) >= scale*float64(c.SnapshotBytes)
}

// soonAfter is how long Raft has to go by a snapshot that is applied, before the log
// is looked at.
const soonAfter = 20 * time.Millisecond

// snapshots makes snapshots when they are due. Raft's own way of doing so knows
// nothing of their length.
func (n *Node) snapshots(ctx context.Context) {
	c := &n.cfg.Raft
	tick := time.NewTicker(min(time.Second, c.SnapshotInterval))
	defer tick.Stop()
	look, factor := time.Now(), spread(rand.Float64()) //nolint:gosec // no secret
	for {
		if err := mendGap(n.storage.logs, n.latestSnapshot()); err != nil && ctx.Err() == nil {
			n.log.Warn("mend the log; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.restored: // Raft names the snapshot in a moment
			tick.Reset(min(soonAfter, c.SnapshotInterval))
			continue
		case <-tick.C:
			tick.Reset(min(time.Second, c.SnapshotInterval))
		}
		entries, bytes := n.machine.logged.due(c, factor)
		if !bytes && (!entries || time.Now().Before(look)) {
			continue
		}
		look = time.Now().Add(c.SnapshotInterval + rand.N(c.SnapshotInterval)) //nolint:gosec // no secret
		err := awaitFuture(ctx, n.raft.Snapshot())
		if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
			factor = spread(rand.Float64()) //nolint:gosec // no secret
		} else if ctx.Err() == nil {
			n.log.Warn("snapshot; trying again", "error", err)
		}
	}
}

// counted counts the bytes that are read and written through it.
type counted struct {
	io.Reader
	io.Writer

	bytes uint64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bytes += uint64(n)
	return n, err //nolint:wrapcheck // the reader's own
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bytes += uint64(n)
	return n, err //nolint:wrapcheck // the writer's own
}
