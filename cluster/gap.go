package cluster

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/raft"
)

// mendGap removes what is left of the log from before a snapshot that another node
// sent. Raft leaves it there, and goes on behind the snapshot. It may end with
// entries that this node took in a term whose leader was deposed before they were
// committed. A follower that is far behind would get them from this node, should it
// lead, and take them for committed.
//
// The snapshot is on the disk and applied when Raft names it, so nothing that it
// holds is needed of the log.
func mendGap(logs raft.LogStore, snapshot uint64) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("first index of the log: %w", err)
	}
	if snapshot == 0 || first == 0 || first > snapshot {
		return nil
	}
	var l raft.Log
	if err := logs.GetLog(snapshot, &l); !errors.Is(err, raft.ErrLogNotFound) {
		return err // it goes on without a gap
	}
	if err := logs.DeleteRange(first, snapshot); err != nil {
		return fmt.Errorf("remove entries %d to %d, before a gap: %w", first, snapshot, err)
	}
	return nil
}

// latestSnapshot is the index of the newest one that Raft goes by; 0 if there is
// none.
func (n *Node) latestSnapshot() uint64 {
	index, err := strconv.ParseUint(n.raft.Stats()["last_snapshot_index"], 10, 64)
	if err != nil {
		return 0 // cannot be
	}
	return index
}
