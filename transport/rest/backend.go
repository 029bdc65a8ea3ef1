package rest

import (
	"context"
	"errors"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// propose hands a command to the cluster and waits for what became of it. A
// refusal comes back as the error.
func (s *server) propose(ctx context.Context, what string, cmd fsm.Command) (fsm.Result, error) {
	res, err := s.Backend.ProposeWithin(ctx, hold, cmd)
	if errors.Is(err, transport.ErrOverloaded) {
		return res, transport.Unconfirmed(what, err)
	}
	if err != nil {
		return res, unavailable("%s: the cluster did not confirm it in time, it may still happen: %v", what, err)
	}
	if res.Refusal != nil {
		return res, res.Refusal
	}
	return res, nil
}

// find looks something up. That it does not exist is said only when the view
// is known to be current: it may have been made at another node just now.
func find[T any](ctx context.Context, s *server, look func(fsm.View) (T, bool)) (found T, ok bool, err error) {
	if found, ok = look(s.Backend.View()); ok {
		return found, true, nil
	}
	if err = s.current(ctx); err != nil {
		return found, false, err
	}
	found, ok = look(s.Backend.View())
	return found, ok, nil
}

// current makes sure that the view is as new as the call.
func (s *server) current(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readHold)
	defer cancel()
	if err := s.Backend.Barrier(ctx); err != nil {
		return unavailable("this node cannot tell whether its state is current: %v", err)
	}
	return nil
}
