package transport

import (
	"errors"

	"github.com/limpet-dev/limpet/fsm"
)

// ErrOverloaded is what a backend's Propose wraps when too much waits at the
// node. Nothing was done.
var ErrOverloaded = errors.New("the node has too much to do")

// Unconfirmed gives the error of a command that the backend did not confirm: of
// an overload, that nothing was done and when to try again; otherwise that it may
// still happen.
func Unconfirmed(what string, err error) error {
	if errors.Is(err, ErrOverloaded) {
		return &fsm.Refusal{
			Code: fsm.CodeExhausted, Field: "call", Got: what, Want: "was not taken, nothing was done: " + err.Error(),
			Hint: "try again in a second, with a growing pause, or at another node",
		}
	}
	return Unavailable("%s: the cluster did not confirm it in time, it may still happen: %v", what, err)
}
