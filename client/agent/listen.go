package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

// order names an attempt that the program was told to start.
type order struct {
	taskRun string
	attempt int32
}

// listen keeps the program's assignment stream open, whatever happens to the
// nodes: it opens one at another node in its place. An order that the program has
// had is not passed on again.
func (p *proxy) listen(stream grpc.ServerStream, method string) error {
	var first frame
	if err := stream.RecvMsg(&first); err != nil {
		return err
	}
	var r compat.WorkerListenRequest
	if err := proto.Unmarshal(first.data, &r); err != nil {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("the request to listen cannot be read: %v", err))
	}
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	incarnation, ok := p.takeOver(r.GetWorkerId(), stop)
	if !ok {
		return status.Error(codes.Unavailable, "the program that listens has ended")
	}
	l := &listening{proxy: p, stream: stream, method: method, request: first, worker: r.GetWorkerId(), passed: map[order]bool{}}
	var b backoff
	for {
		conn, err := p.nodes.Get()
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		err = l.serve(outgoing(ctx, limpetv1.HeaderIncarnation, incarnation), conn, &b)
		switch {
		case stream.Context().Err() != nil:
			return stream.Context().Err()
		case ctx.Err() != nil:
			return status.Error(codes.Unavailable, "a newer stream of the worker took the place of this one, or its program has ended")
		case l.broken != nil:
			return l.broken
		case status.Code(err) == codes.FailedPrecondition:
			p.fence(incarnation)
			return err
		case !again(err):
			return err
		case p.hasLeft(l.worker):
			return status.Error(codes.Unavailable, "the worker has left")
		}
		// An outage of all nodes is one line, and not one for each try.
		level := slog.LevelDebug
		if l.up {
			level = slog.LevelInfo
		}
		l.up = false
		p.log.Log(ctx, level, "the assignment stream broke and is opened at another node", "worker", l.worker, "node", conn.Addr, "error", status.Convert(err).Message())
		p.nodes.Failed(conn)
		if !b.wait(ctx) {
			return status.Error(codes.Unavailable, "the stream has ended")
		}
	}
}

// takeOver makes the stream the one that the worker listens on, unless the life of
// the program is over.
func (p *proxy) takeOver(worker string, stop context.CancelFunc) (incarnation string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return "", false
	}
	if w := p.workers[worker]; w != nil {
		if w.stop != nil {
			w.stop()
		}
		w.stop, w.left = stop, false
	}
	return p.incarnation, true
}

// fence notes that a newer process has the place of the present life.
func (p *proxy) fence(incarnation string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.incarnation == incarnation {
		p.fencedOnce.Do(func() { close(p.fenced) })
	}
}

func (p *proxy) hasLeft(worker string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.workers[worker]
	return w != nil && w.left
}

// listening is one stream of the program.
type listening struct {
	proxy   *proxy
	stream  grpc.ServerStream
	method  string
	request frame
	worker  string
	passed  map[order]bool
	opened  bool
	up      bool  // it is open now
	broken  error // the program's end of it
}

// serve passes orders on from one node until its stream ends, and gives why.
func (l *listening) serve(ctx context.Context, conn *nodes.Conn, b *backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, l.method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if err := up.SendMsg(&l.request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := up.CloseSend(); err != nil {
		return err
	}
	md, err := up.Header()
	if err == nil && md != nil {
		l.up = true
		l.proxy.log.Info("the assignment stream is open", "worker", l.worker, "node", conn.Addr)
	}
	if err == nil && md != nil && !l.opened {
		l.opened = true
		if err := l.stream.SendHeader(md); err != nil {
			l.broken = err
			return err
		}
	}
	for {
		var f frame
		if err := up.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return status.Error(codes.Unavailable, "the node ended the stream")
			}
			return err
		}
		b.next = 0
		if l.had(&f) {
			continue
		}
		if err := l.stream.SendMsg(&f); err != nil {
			l.broken = err
			return err
		}
	}
}

// had reports whether the program was told to start this attempt already.
func (l *listening) had(f *frame) bool {
	var a compat.AssignedAction
	if proto.Unmarshal(f.data, &a) != nil || a.GetActionType() != compat.ActionType_START_STEP_RUN {
		return false
	}
	o := order{a.GetTaskRunExternalId(), a.GetRetryCount()}
	if l.passed[o] {
		l.proxy.log.Debug("an order that the program has already was not passed on", "task_run", o.taskRun, "attempt", o.attempt)
		return true
	}
	const bound = 100_000
	if len(l.passed) >= bound {
		clear(l.passed) // repeats come at a reconnect and are of late
	}
	l.passed[o] = true
	return false
}
