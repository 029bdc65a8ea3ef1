package transport_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/transport"
)

func TestAnOverloadIsToldFromAnUnknownOutcome(t *testing.T) {
	over := fmt.Errorf("%w: 100 wait", transport.ErrOverloaded)
	s := status.Convert(transport.Status(transport.Unconfirmed("start workflow w", over)))
	if s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "nothing was done") || !strings.Contains(s.Message(), "try again in a second") {
		t.Errorf("an overload is %v: %s", s.Code(), s.Message())
	}
	full := fmt.Errorf("propose: %w", &transport.SaturatedError{After: 3 * time.Second})
	s = status.Convert(transport.Status(transport.Unconfirmed("start workflow w", full)))
	if s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "nothing was done") || !strings.Contains(s.Message(), "try again in 3s") {
		t.Errorf("a saturated cluster is %v: %s", s.Code(), s.Message())
	}
	if after := transport.RetryAfter(transport.Unconfirmed("start workflow w", full)); after != 3*time.Second {
		t.Errorf("a saturated cluster is to be asked again after %v", after)
	}
	if after := transport.RetryAfter(transport.Unconfirmed("start workflow w", over)); after != 0 {
		t.Errorf("an overload of one node says to wait %v", after)
	}
	if !errors.Is(full, transport.ErrOverloaded) {
		t.Error("a saturated cluster is no overload")
	}
	s = status.Convert(transport.Status(transport.Unconfirmed("start workflow w", errors.New("no leader"))))
	if s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "may still happen") {
		t.Errorf("an unknown outcome is %v: %s", s.Code(), s.Message())
	}
}
