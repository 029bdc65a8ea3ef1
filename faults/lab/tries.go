package lab

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tries is how often the SDK has sent one call. It sends it again only after an
// answer that leaves it open whether it was done.
type tries struct{ sent atomic.Int32 }

type triesKey struct{}

// withTries counts the tries of the call that is made with the context returned.
func withTries(ctx context.Context) (context.Context, *tries) {
	t := &tries{}
	return context.WithValue(ctx, triesKey{}, t), t
}

// countTry counts what goes over the SDK's connections.
func countTry(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error { //nolint:revive // as gRPC wants it
	if t, ok := ctx.Value(triesKey{}).(*tries); ok {
		t.sent.Add(1)
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// of marks the error of a call that was sent more than once.
func (t *tries) of(err error) error {
	if t.sent.Load() > 1 {
		return repeated(err)
	}
	return err
}

// unsure is the error of a call whose last try was answered so: an earlier one
// may have been taken.
type unsure struct{ error }

// repeated marks the error of a call that an earlier try may have done.
func repeated(err error) error {
	if err == nil {
		return nil
	}
	return unsure{err}
}

// refused reports whether a call certainly did nothing, and will not.
func refused(err error) bool {
	if _, ok := err.(unsure); ok { //nolint:errorlint // marked last
		return false
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated, codes.OutOfRange,
		codes.ResourceExhausted:
		return true
	}
	return false
}
