package main

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// anyNode makes each call at the first node that can take it. One that has just
// started, or has lost the others, answers and cannot. All tries of a call have one
// request id, so that it is carried out once.
type anyNode struct {
	conns []grpc.ClientConnInterface
}

// Invoke implements [grpc.ClientConnInterface].
func (n *anyNode) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx = metadata.AppendToOutgoingContext(ctx, limpetv1.HeaderRequestID, uuid.NewString())
	var first error
	for _, c := range n.conns {
		err := c.Invoke(ctx, method, args, reply, opts...)
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// NewStream implements [grpc.ClientConnInterface]: a stream is at one node.
func (n *anyNode) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return n.conns[0].NewStream(ctx, desc, method, opts...)
}
