package transport

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/transport/auth"
)

// requestKey is the key of a call's request ids in its context.
type requestKey struct{}

// requestIDs numbers the commands of one call, so that the same call, repeated
// here or at another node, gives its commands the same ids.
type requestIDs struct {
	base string
	next atomic.Int64
}

// withRequest notes the caller's request id. It counts for the caller's tenant
// and the method only: nobody gets the answer to another's call.
func withRequest(ctx context.Context, method string, claims *auth.Claims) context.Context {
	ids := metadata.ValueFromIncomingContext(ctx, limpetv1.HeaderRequestID)
	if len(ids) == 0 || ids[0] == "" {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, &requestIDs{base: string(claims.Tenant) + "\x00" + method + "\x00" + ids[0]})
}

// Identify gives a command of a call the request id that follows from the
// caller's, if the caller gave one.
func Identify(ctx context.Context, cmd *limpetv1.Command) {
	ids, ok := ctx.Value(requestKey{}).(*requestIDs)
	if !ok {
		return
	}
	const size = 16
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", ids.base, ids.next.Add(1)))
	cmd.RequestId, cmd.Remember = sum[:size], true
}

// Header gives a header of a gRPC call, or "".
func Header(ctx context.Context, name string) string {
	if v := metadata.ValueFromIncomingContext(ctx, name); len(v) > 0 {
		return v[0]
	}
	return ""
}
