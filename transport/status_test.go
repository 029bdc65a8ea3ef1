package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
)

func TestEveryErrorHasItsStatus(t *testing.T) {
	refusal := func(c fsm.Code) error {
		return fmt.Errorf("trigger: %w", &fsm.Refusal{Code: c, Field: "f", Got: "g", Want: "w"})
	}
	for _, c := range []struct {
		name          string
		err           error
		unary, stream codes.Code
	}{
		{"none", nil, codes.OK, codes.OK},
		{"invalid", refusal(fsm.CodeInvalid), codes.InvalidArgument, codes.InvalidArgument},
		{"not found", refusal(fsm.CodeNotFound), codes.NotFound, codes.NotFound},
		{"conflict", refusal(fsm.CodeConflict), codes.FailedPrecondition, codes.Unavailable},
		{"stale", refusal(fsm.CodeStale), codes.Unavailable, codes.Unavailable},
		{"unsupported", refusal(fsm.CodeUnsupported), codes.Unimplemented, codes.Unimplemented},
		{"exhausted", refusal(fsm.CodeExhausted), codes.ResourceExhausted, codes.Unavailable},
		{"no token", &auth.Error{Kind: auth.Unauthenticated}, codes.Unauthenticated, codes.Unauthenticated},
		{"no role", &auth.Error{Kind: auth.Forbidden}, codes.PermissionDenied, codes.PermissionDenied},
		{"no cluster", &auth.Error{Kind: auth.NotReady}, codes.Unavailable, codes.Unavailable},
		{"cancelled", context.Canceled, codes.Canceled, codes.Unavailable},
		{"late", context.DeadlineExceeded, codes.Unavailable, codes.Unavailable},
		{"other", io.ErrUnexpectedEOF, codes.Unavailable, codes.Unavailable},
		{"panic", status.Error(codes.Internal, "x"), codes.Internal, codes.Unavailable},
		{"try again", transport.Unavailable("x"), codes.Unavailable, codes.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := status.Code(transport.Status(c.err)); got != c.unary {
				t.Errorf("a call ends with %s, want %s", got, c.unary)
			}
			if got := status.Code(transport.StreamStatus(c.err)); got != c.stream {
				t.Errorf("a stream ends with %s, want %s", got, c.stream)
			}
		})
	}
	if got := status.Convert(transport.Status(refusal(fsm.CodeInvalid))).Message(); got != `trigger: f "g": w` {
		t.Errorf("the sentence of the refusal became %q", got)
	}
	if err := transport.CheckSize("input", 5, 4); !errors.As(err, new(*fsm.Refusal)) || transport.CheckSize("input", 4, 4) != nil {
		t.Errorf("a field over the limit gives %v", err)
	}
}
