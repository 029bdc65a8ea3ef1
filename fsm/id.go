package fsm

import (
	"fmt"
	"hash/fnv"
)

// Identifiers are UUID texts. They are distinct types so that the compiler
// keeps a run from being taken for a task run.
type (
	// TenantID names a tenant: the `sub` claim of its tokens.
	TenantID string
	// WorkflowID names a workflow through all its versions.
	WorkflowID string
	// VersionID names one version of a workflow.
	VersionID string
	// WorkerID names a worker for the life of its process.
	WorkerID string
	// RunID names one execution of a workflow.
	RunID string
	// TaskRunID names one task of one run, through all its attempts.
	TaskRunID string
	// NodeID names a coordinator node.
	NodeID string
	// SessionID names one assignment stream of one worker.
	SessionID string
)

// ValidUUID reports whether s has the shape of a UUID in lower-case hex.
func ValidUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// taskRunID derives the id of the index-th task of a run. A workflow of one
// task uses the run's own id, as the SDKs are used to. The derived id keeps the
// run's time and half of its randomness and hashes the index into the rest, so
// that no node has to know the workflow when it mints a run id.
func taskRunID(run RunID, index, total int) TaskRunID {
	if total == 1 || len(run) != 36 {
		return TaskRunID(run)
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", run, index)
	return TaskRunID(fmt.Sprintf("%s%012x", run[:24], h.Sum64()&(1<<48-1)))
}

// fold makes a number of a text, the same on every machine.
func fold(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}
