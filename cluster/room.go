package cluster

import (
	"fmt"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// maxWaitingBytes bounds the commands that wait at a node by their size.
const maxWaitingBytes = 256 << 20

// newWork reports whether a command brings work into the cluster. Reports,
// cancels and sessions bring it to an end, or are few: they find room when there
// is none for new work, or an overload would keep itself up.
func newWork(cmd fsm.Command) bool {
	switch cmd.GetKind().(type) {
	case *limpetv1.Command_TriggerRuns, *limpetv1.Command_PushEvents, *limpetv1.Command_ReplayTasks,
		*limpetv1.Command_PutLogs, *limpetv1.Command_PutChunks:
		return true
	}
	return false
}

// asksForRuns reports whether a command begins runs, or begins them again.
func asksForRuns(cmd fsm.Command) bool {
	switch cmd.GetKind().(type) {
	case *limpetv1.Command_TriggerRuns, *limpetv1.Command_PushEvents, *limpetv1.Command_ReplayTasks:
		return true
	}
	return false
}

// isReport reports whether a worker waits for the command with a slot in its hands.
func isReport(cmd fsm.Command) bool {
	switch cmd.GetKind().(type) {
	case *limpetv1.Command_ReportStarted, *limpetv1.Command_ReportCompleted, *limpetv1.Command_ReportFailed,
		*limpetv1.Command_ReportCancelled:
		return true
	}
	return false
}

// roomFor gives the part of a limit that a command may fill up.
func roomFor(cmd fsm.Command, limit int) int {
	if newWork(cmd) {
		return max(1, limit/4*3)
	}
	return limit
}

// full says why a command cannot be taken now; nil if it can. The caller holds mu.
func (f *forwarder) full(cmd fsm.Command, size int) error {
	if len(f.table.byID) < roomFor(cmd, f.maxWaiting) && f.table.bytes+size <= roomFor(cmd, maxWaitingBytes) {
		return nil
	}
	return fmt.Errorf("%w: %d, of %d bytes, at this node; try again in a second, or at another node", ErrOverloaded, len(f.table.byID), f.table.bytes)
}
