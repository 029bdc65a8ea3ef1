package limpet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	pauseMin, pauseMax = 20 * time.Millisecond, time.Second
	// tryFor bounds one try at one node: a node holds a call for 10 s during an
	// election.
	tryFor = 12 * time.Second
)

// again reports whether a call that ended so is worth another node.
func again(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted:
		return true
	default:
		return false
	}
}

// backoff makes pauses that grow.
type backoff struct{ next time.Duration }

// wait pauses; false when ctx ends first.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(pauseMax, max(pauseMin, 2*b.next))
	t := time.NewTimer(b.next/2 + rand.N(b.next/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// call makes a unary call at one node after the other until one answers or ctx
// ends. All tries carry one request id, so that it applies once.
func (c *Client) call(ctx context.Context, what string, do func(context.Context, grpc.ClientConnInterface) error) error {
	return c.callFor(ctx, what, tryFor, do)
}

func (c *Client) callFor(ctx context.Context, what string, each time.Duration, do func(context.Context, grpc.ClientConnInterface) error) error {
	ctx = metadata.AppendToOutgoingContext(ctx, limpetv1.HeaderRequestID, uuid.NewString())
	var b backoff
	unsure := false
	for {
		conn, err := c.nodes.Get()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		err = try(ctx, conn, each, do)
		if err == nil {
			return nil
		}
		// A node that refuses a call says that it did nothing. It cannot know of an
		// earlier try.
		repeat := again(err) || unsure && status.Code(err) == codes.ResourceExhausted
		unsure = true
		if !repeat || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.cfg.log.Debug("a call is repeated at another node", "call", what, "node", conn.Addr, "error", err)
		c.nodes.Failed(conn)
		if !b.wait(ctx) {
			return fmt.Errorf("%s: %w; the last node said: %w", what, context.Cause(ctx), err)
		}
	}
}

func try(ctx context.Context, conn *nodes.Conn, each time.Duration, do func(context.Context, grpc.ClientConnInterface) error) error {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	return do(ctx, conn.ClientConn)
}
