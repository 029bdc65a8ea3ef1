package transport

import (
	"errors"
	"fmt"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// ErrOverloaded is what a backend's ProposeWithin wraps when too much waits at the
// node. Nothing was done.
var ErrOverloaded = errors.New("the node has too much to do")

// SaturatedError is an overload of the whole cluster. It wraps [ErrOverloaded].
type SaturatedError struct {
	After time.Duration // when to try again
}

// Error says so.
func (e *SaturatedError) Error() string {
	return fmt.Sprintf("%v: the cluster is asked for more runs than it can bring to an end", ErrOverloaded)
}

// Unwrap gives [ErrOverloaded].
func (e *SaturatedError) Unwrap() error { return ErrOverloaded }

// laterError is an error with the time after which another try may do.
type laterError struct {
	error
	after time.Duration
}

// Unwrap gives the error alone.
func (e *laterError) Unwrap() error { return e.error }

// Later adds to an error when to try again, which [RetryAfter] finds.
func Later(err error, after time.Duration) error { return &laterError{err, after} }

// RetryAfter gives how long to wait before the next try; 0 if the error does not
// say.
func RetryAfter(err error) time.Duration {
	if later, ok := errors.AsType[*laterError](err); ok {
		return later.after
	}
	return 0
}

// Unconfirmed gives the error of a command that the backend did not confirm: of
// an overload, that nothing was done and when to try again; otherwise that it may
// still happen.
func Unconfirmed(what string, err error) error {
	if full, ok := errors.AsType[*SaturatedError](err); ok {
		return Later(&fsm.Refusal{
			Code: fsm.CodeExhausted, Field: "call", Got: what,
			Want: "was not taken, nothing was done: the cluster is asked for more runs than it can bring to an end",
			Hint: fmt.Sprintf("try again in %v, with a growing pause; other nodes would refuse it too", full.After),
		}, full.After)
	}
	if errors.Is(err, ErrOverloaded) {
		return &fsm.Refusal{
			Code: fsm.CodeExhausted, Field: "call", Got: what, Want: "was not taken, nothing was done: " + err.Error(),
			Hint: "try again in a second, with a growing pause, or at another node",
		}
	}
	return Unavailable("%s: the cluster did not confirm it in time, it may still happen: %v", what, err)
}
