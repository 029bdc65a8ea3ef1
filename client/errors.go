package limpet

import (
	"errors"
	"fmt"
)

// Causes of a task's cancelled context; see [context.Cause].
var (
	// ErrCancelled: the run or the task run was cancelled, or its time is over.
	ErrCancelled = errors.New("limpet: the task run was cancelled")
	// ErrSuperseded: another attempt of the task run has begun, as this one was
	// given up by the cluster.
	ErrSuperseded = errors.New("limpet: a newer attempt of the task run has begun")
	// ErrStopped: the worker is stopping and the time to drain is over.
	ErrStopped = errors.New("limpet: the worker has stopped")
	// ErrFenced: a newer start of this process has taken the worker's place.
	// [Worker.Run] ends with it.
	ErrFenced = errors.New("limpet: a newer start of this worker has taken its place")
)

// RunError says that a run did not complete.
type RunError struct {
	// RunID is the run.
	RunID string
	// Task is the first task that failed; empty when none did, as in a run that
	// was cancelled.
	Task string
	// Message is what the task said of it, as it was reported.
	Message string
}

// Error gives run, task and message.
func (e *RunError) Error() string {
	if e.Task == "" {
		return fmt.Sprintf("run %s did not complete: %s", e.RunID, e.Message)
	}
	return fmt.Sprintf("run %s: task %q: %s", e.RunID, e.Task, e.Message)
}

// permanent is an error that a retry cannot mend.
type permanent struct{ error }

// Unwrap gives the error itself.
func (p permanent) Unwrap() error { return p.error }

// NonRetryable marks the error of a task as final: the task run fails at once,
// whatever retries it has left.
func NonRetryable(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}
