package transport_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

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
	s = status.Convert(transport.Status(transport.Unconfirmed("start workflow w", errors.New("no leader"))))
	if s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "may still happen") {
		t.Errorf("an unknown outcome is %v: %s", s.Code(), s.Message())
	}
}
