package bench

import (
	"context"
	"encoding/binary"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// lean is a client of single calls over one HTTP/2 connection. It does what the
// ordinary client does on the wire and leaves out what it has beside that
// (interceptors, retries, balancing, statistics, a stream object for each
// call), because the client's time is taken from the machine that is measured.
// Streams go over the ordinary client.
type lean struct {
	addr    string
	streams *grpc.ClientConn
	fixed   []hpack.HeaderField // of every call

	mu   sync.Mutex
	link *link // nil when none is open
}

// newLean makes a client; it connects with the first call.
func newLean(addr, token string, streams *grpc.ClientConn) *lean {
	c := &lean{addr: addr, streams: streams, fixed: []hpack.HeaderField{
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}, {Name: "user-agent", Value: "grpc-go/" + grpc.Version},
	}}
	if token != "" {
		c.fixed = append(c.fixed, hpack.HeaderField{Name: "authorization", Value: "bearer " + token})
	}
	return c
}

// Close ends the connection.
func (c *lean) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.fail(status.Error(codes.Canceled, "the connection was closed"))
	}
	return nil
}

// NewStream implements [grpc.ClientConnInterface].
func (c *lean) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.streams.NewStream(ctx, desc, method, opts...)
}

// Invoke implements [grpc.ClientConnInterface].
func (c *lean) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	in, ok := args.(proto.Message)
	out, ok2 := reply.(proto.Message)
	if !ok || !ok2 {
		return status.Errorf(codes.Internal, "%T and %T are no messages", args, reply)
	}
	l, err := c.connected(ctx)
	if err != nil {
		return err
	}
	call := l.calls()
	defer l.give(call)
	call.body = append(call.body[:0], 0, 0, 0, 0, 0) // not compressed, and the length
	if call.body, err = (proto.MarshalOptions{}).MarshalAppend(call.body, in); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	binary.BigEndian.PutUint32(call.body[1:prefix], uint32(len(call.body)-prefix))
	if err := l.begin(ctx, call, method); err != nil {
		return err
	}
	select {
	case err = <-call.done:
	case <-ctx.Done():
		if l.abandon(call) {
			return status.FromContextError(ctx.Err()).Err()
		}
		err = <-call.done
	}
	if err != nil {
		return inTime(ctx, err)
	}
	return call.decode(out)
}

// inTime gives a call that a server has cut at its deadline the code of that.
func inTime(ctx context.Context, err error) error {
	const near = 10 * time.Millisecond
	if end, ok := ctx.Deadline(); ok && status.Code(err) == codes.Canceled && time.Until(end) < near {
		return status.Error(codes.DeadlineExceeded, context.DeadlineExceeded.Error())
	}
	return err
}

// prefix is the head of a message: a flag and the length.
const prefix = 5

// connected gives the open connection, or makes one.
func (c *lean) connected(ctx context.Context) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil && c.link.usable() {
		return c.link, nil
	}
	const patience = 5 * time.Second
	dialer := &net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "connect to %s: %v", c.addr, err)
	}
	c.link = newLink(conn, c.addr, c.fixed)
	return c.link, nil
}

// call is one call that is under way.
type call struct {
	id     uint32
	body   []byte // what is sent
	answer []byte
	window int64
	status codes.Code
	text   string
	done   chan error
}

func (c *call) decode(out proto.Message) error {
	if len(c.answer) < prefix || c.answer[0] != 0 || int(binary.BigEndian.Uint32(c.answer[1:prefix])) != len(c.answer)-prefix {
		return status.Errorf(codes.Internal, "an answer of %d bytes is not one message, not compressed", len(c.answer))
	}
	if err := proto.Unmarshal(c.answer[prefix:], out); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}

// header takes what of an answer's headers and trailers matters.
func (c *call) header(f *http2.MetaHeadersFrame) {
	for _, h := range f.Fields {
		switch h.Name {
		case ":status":
			if h.Value != "200" {
				c.status, c.text = codes.Unavailable, "HTTP status "+h.Value
			}
		case "grpc-status":
			n, err := strconv.Atoi(h.Value)
			if err != nil {
				n = int(codes.Unknown)
			}
			c.status = codes.Code(n)
		case "grpc-message":
			c.text = h.Value
			if text, err := url.PathUnescape(h.Value); err == nil {
				c.text = text
			}
		}
	}
}

func (c *call) err() error {
	if c.status == codes.OK {
		return nil
	}
	return status.Error(c.status, c.text)
}
