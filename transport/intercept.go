package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
)

// interceptor does what every call needs, in this order: catch panics, check
// that the node is part of the cluster, the token, check the size, call, map the error, count, log.
type interceptor struct {
	outside  func() string
	verifier *auth.Verifier
	role     func(method string) auth.Role
	counters *Counters
	log      hclog.Logger
	limit    int
}

func (i *interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = i.panicked(info.FullMethod, p)
		}
		err = Status(i.noted(info.FullMethod, err))
		i.done(info.FullMethod, start, err)
	}()
	ctx, err = i.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if m, ok := req.(proto.Message); ok {
		if n := proto.Size(m); n > i.limit {
			i.counters.Oversized.Add(1)
			return nil, tooLarge("request", n, i.limit)
		}
	}
	return handler(ctx, req)
}

func (i *interceptor) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = i.panicked(info.FullMethod, p)
		}
		err = StreamStatus(i.noted(info.FullMethod, err))
		i.done(info.FullMethod, start, err)
	}()
	ctx, err := i.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handler(srv, &streamWithContext{stream, ctx})
}

// streamWithContext is a stream whose context carries the claims.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the interface of grpc asks for it
}

// Context gives the context with the claims.
func (s *streamWithContext) Context() context.Context { return s.ctx }

// admit verifies the token and puts its claims into the context.
func (i *interceptor) admit(ctx context.Context, method string) (context.Context, error) {
	role := i.role(method)
	if role == "" {
		return ctx, nil
	}
	if why := i.outside(); why != "" {
		return ctx, Unavailable("%s", why)
	}
	claims, err := i.verifier.Incoming(ctx)
	if err != nil {
		return ctx, err
	}
	if err := claims.Require(role); err != nil {
		return ctx, fmt.Errorf("%s: %w", method, err)
	}
	return auth.WithClaims(withRequest(ctx, method, claims), claims), nil
}

// noted counts refusals and gives methods that have no body their sentence.
func (i *interceptor) noted(method string, err error) error {
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		i.counters.CountRefusal(refusal.Code)
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unimplemented && strings.HasSuffix(s.Message(), " not implemented") {
		return notServed(method)
	}
	return err
}

func (i *interceptor) panicked(method string, p any) error {
	i.log.Error("a call panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
	return status.Errorf(codes.Internal, "%s: internal error at this node; its log has the details", method)
}

func (i *interceptor) done(method string, start time.Time, err error) {
	code := status.Code(err)
	i.counters.CountCall(method, code)
	if !i.log.IsDebug() { // what the line says would be built for each call
		return
	}
	if code == codes.OK {
		i.log.Debug("call", "method", method, "took", time.Since(start))
		return
	}
	i.log.Debug("call", "method", method, "took", time.Since(start), "code", code, "error", status.Convert(err).Message())
}

// unknown answers calls of services and methods that nobody registered.
func unknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return notServed(method)
}

func notServed(method string) error {
	return status.Errorf(codes.Unimplemented, "method %s is not served by this version of limpet yet", method)
}

func tooLarge(field string, got, limit int) error {
	return &fsm.Refusal{
		Code: fsm.CodeInvalid, Field: field, Got: fmt.Sprintf("%d bytes", got),
		Want: fmt.Sprintf("the limit is %d bytes", limit),
		Hint: "keep large data elsewhere and pass a reference to it",
	}
}

// CheckSize refuses a field that is larger than the limit in bytes.
func CheckSize(field string, got, limit int) error {
	if got > limit {
		return tooLarge(field, got, limit)
	}
	return nil
}
