package agent

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

// waiting is the program's subscription to results: the runs that it asked for
// and that have not ended yet are asked for again at the next node.
type waiting struct {
	proxy  *proxy
	stream grpc.ServerStream

	mu     sync.Mutex
	open   map[string]frame // by run
	order  []string
	up     grpc.ClientStream
	closed bool // the program asks for no more
}

// results keeps the program's stream of results open over changes of nodes.
func (p *proxy) results(stream grpc.ServerStream, method string) error {
	ctx, cancel := context.WithCancel(outgoing(stream.Context()))
	defer cancel()
	w := &waiting{proxy: p, stream: stream, open: map[string]frame{}}
	go w.read() // ends when this stream does
	var b backoff
	for {
		conn, err := p.nodes.Get()
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		err = w.serve(ctx, conn, method, &b)
		switch {
		case stream.Context().Err() != nil:
			return stream.Context().Err()
		case err == nil, !again(err):
			return err
		case w.done():
			return nil
		}
		p.nodes.Failed(conn)
		if !b.wait(ctx) {
			return stream.Context().Err()
		}
	}
}

// read takes the program's questions until it has no more.
func (w *waiting) read() {
	for {
		var f frame
		err := w.stream.RecvMsg(&f)
		w.mu.Lock()
		if err != nil {
			w.closed = true
			if w.up != nil {
				_ = w.up.CloseSend()
			}
			w.mu.Unlock()
			return
		}
		var r compat.SubscribeToWorkflowRunsRequest
		if proto.Unmarshal(f.data, &r) == nil {
			if _, asked := w.open[r.GetWorkflowRunId()]; !asked {
				w.order = append(w.order, r.GetWorkflowRunId())
			}
			w.open[r.GetWorkflowRunId()] = f
		}
		if w.up != nil {
			_ = w.up.SendMsg(&f) // a broken one shows where it is received from
		}
		w.mu.Unlock()
	}
}

// serve passes results on from one node until its stream ends.
func (w *waiting) serve(ctx context.Context, conn *nodes.Conn, method string, b *backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if err := w.resume(up); err != nil {
		return err
	}
	defer w.pause()
	for {
		var f frame
		if err := up.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) && w.done() {
				return nil
			}
			if errors.Is(err, io.EOF) {
				return status.Error(codes.Unavailable, "the node ended the stream")
			}
			return err
		}
		b.next = 0
		w.answered(&f)
		if err := w.stream.SendMsg(&f); err != nil {
			return err
		}
	}
}

// resume asks the node for all that is still open.
func (w *waiting) resume(up grpc.ClientStream) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, run := range w.order {
		if f, open := w.open[run]; open {
			if err := up.SendMsg(&f); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	w.up = up
	if w.closed {
		return up.CloseSend()
	}
	return nil
}

func (w *waiting) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = nil
}

// answered takes a run off the list.
func (w *waiting) answered(f *frame) {
	var e compat.WorkflowRunEvent
	if proto.Unmarshal(f.data, &e) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, e.GetWorkflowRunId())
	const compact = 1024
	if len(w.order) > compact && len(w.order) > 2*len(w.open) {
		var order []string
		for _, run := range w.order {
			if _, open := w.open[run]; open {
				order = append(order, run)
			}
		}
		w.order = order
	}
}

// done reports whether the program asks for no more and has all its answers.
func (w *waiting) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed && len(w.open) == 0
}
