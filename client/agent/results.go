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

	some chan struct{} // capacity 1: queue or closed has changed

	mu     sync.Mutex
	open   map[string]frame // by run
	order  []string
	queue  []frame // not yet sent on the present stream
	live   bool    // there is one
	closed bool    // the program asks for no more
}

// results keeps the program's stream of results open over changes of nodes.
func (p *proxy) results(stream grpc.ServerStream, method string) error {
	ctx, cancel := context.WithCancel(outgoing(stream.Context()))
	defer cancel()
	w := &waiting{proxy: p, stream: stream, open: map[string]frame{}, some: make(chan struct{}, 1)}
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
			w.mu.Unlock()
			w.wake()
			return
		}
		var r compat.SubscribeToWorkflowRunsRequest
		if proto.Unmarshal(f.data, &r) == nil {
			if _, asked := w.open[r.GetWorkflowRunId()]; !asked {
				w.order = append(w.order, r.GetWorkflowRunId())
			}
			w.open[r.GetWorkflowRunId()] = f
		}
		if w.live {
			w.queue = append(w.queue, f)
		}
		w.mu.Unlock()
		w.wake()
	}
}

func (w *waiting) wake() {
	select {
	case w.some <- struct{}{}:
	default:
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
	w.resume()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.send(ctx, up)
	}()
	defer func() {
		cancel()
		<-sent
		w.pause()
	}()
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

// resume puts all that is still open into the queue of a new stream.
func (w *waiting) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue, w.live = nil, true
	for _, run := range w.order {
		if f, open := w.open[run]; open {
			w.queue = append(w.queue, f)
		}
	}
	w.wake()
}

// send asks for what is in the queue, beside what is received: a node that
// answers while it is being asked must not wait for us, nor we for it.
func (w *waiting) send(ctx context.Context, up grpc.ClientStream) {
	for {
		w.mu.Lock()
		queue, closed := w.queue, w.closed
		w.queue = nil
		w.mu.Unlock()
		for i := range queue {
			if up.SendMsg(&queue[i]) != nil {
				return // the reason shows where it is received from
			}
		}
		if len(queue) > 0 {
			continue
		}
		if closed {
			_ = up.CloseSend()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.some:
		}
	}
}

func (w *waiting) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue, w.live = nil, false
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
