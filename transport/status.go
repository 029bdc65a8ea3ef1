package transport

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
)

// refusalCode is the table from refusals to gRPC codes. A stale report is
// answered OK by its service and does not come here; what else is stale is
// worth a second try.
func refusalCode(c fsm.Code) codes.Code {
	switch c {
	case fsm.CodeInvalid:
		return codes.InvalidArgument
	case fsm.CodeNotFound:
		return codes.NotFound
	case fsm.CodeConflict:
		return codes.FailedPrecondition
	case fsm.CodeStale:
		return codes.Unavailable
	case fsm.CodeUnsupported:
		return codes.Unimplemented
	case fsm.CodeBusy:
		return codes.Unavailable
	case fsm.CodeFenced:
		return codes.FailedPrecondition
	case fsm.CodeExhausted:
		return codes.ResourceExhausted
	case fsm.CodeNone:
	}
	return codes.Unknown
}

// Status gives the error that the caller of a unary method gets. A refusal
// keeps its sentence; an error that is none of ours means that the outcome is
// not known, and is Unavailable so that SDKs try again.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		return status.Error(refusalCode(refusal.Code), err.Error())
	}
	if denied, ok := errors.AsType[*auth.Error](err); ok {
		return status.Error(authCode(denied.Kind), denied.Text)
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

// StreamStatus gives the error that ends a stream. Published SDKs stop for
// good, or spin, on most codes, an end without error included; so a stream ends
// with Unavailable unless its caller can never be served.
func StreamStatus(err error) error {
	s := status.Convert(Status(err))
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok && refusal.Code == fsm.CodeFenced {
		return s.Err() // it must stop for good, and this code makes it do so
	}
	switch s.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented,
		codes.Unavailable, codes.OK:
		return s.Err()
	default:
		return status.Error(codes.Unavailable, s.Message())
	}
}

// Unavailable makes an error that asks the caller to try again, here or at
// another node.
func Unavailable(format string, args ...any) error {
	return status.Error(codes.Unavailable, fmt.Sprintf(format, args...))
}

func authCode(k auth.Kind) codes.Code {
	switch k {
	case auth.Unauthenticated:
		return codes.Unauthenticated
	case auth.Forbidden:
		return codes.PermissionDenied
	case auth.NotReady:
		return codes.Unavailable
	}
	return codes.Unauthenticated
}
