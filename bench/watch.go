package bench

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat"
)

// reconnectPause lies between two tries to open a broken stream again.
const reconnectPause = 20 * time.Millisecond

// waiter is told the end of a run.
type waiter interface {
	finished(ok bool, at time.Time)
}

// signal is a waiter that a caller blocks on.
type signal chan outcome

type outcome struct {
	ok bool
	at time.Time
}

func (s signal) finished(ok bool, at time.Time) { s <- outcome{ok, at} }

// watch is the streams of results, one to each node; each carries the results
// of all runs that were asked for there.
type watch struct {
	wire    *wire
	streams []*resultStream
	breaks  atomic.Int64
	done    sync.WaitGroup
}

type resultStream struct {
	mu      sync.Mutex
	waiting map[string]waiter
	stream  grpc.BidiStreamingClient[compat.SubscribeToWorkflowRunsRequest, compat.WorkflowRunEvent]
	sending sync.Mutex
	request compat.SubscribeToWorkflowRunsRequest // used under sending
}

// newWatch opens a stream to every node. They end with the context.
func newWatch(ctx context.Context, w *wire) (*watch, error) {
	out := &watch{wire: w}
	for i := range w.callers {
		s := &resultStream{waiting: map[string]waiter{}}
		stream, err := compat.NewDispatcherClient(w.caller(i)).SubscribeToWorkflowRuns(ctx)
		if err != nil {
			return nil, err
		}
		s.stream = stream
		out.streams = append(out.streams, s)
		out.done.Go(func() { out.receive(ctx, s, i) })
	}
	return out, nil
}

// add asks for the end of a run, at the i-th node.
func (w *watch) add(i int, run string, by waiter) {
	s := w.streams[i%len(w.streams)]
	s.mu.Lock()
	s.waiting[run] = by
	stream := s.stream
	s.mu.Unlock()
	if stream != nil {
		s.ask(stream, run)
	}
}

// ask sends one id. An error needs no answer: the stream has broken, and what
// waits is asked for again when it is back.
func (s *resultStream) ask(stream grpc.BidiStreamingClient[compat.SubscribeToWorkflowRunsRequest, compat.WorkflowRunEvent], run string) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.request.WorkflowRunId = run
	_ = stream.Send(&s.request)
}

func (w *watch) waiting() int {
	n := 0
	for _, s := range w.streams {
		s.mu.Lock()
		n += len(s.waiting)
		s.mu.Unlock()
	}
	return n
}

func (w *watch) receive(ctx context.Context, s *resultStream, node int) {
	for ctx.Err() == nil {
		s.drain()
		if ctx.Err() != nil {
			return
		}
		w.breaks.Add(1)
		s.mu.Lock()
		s.stream = nil
		s.mu.Unlock()
		for s.stream == nil && pause(ctx, reconnectPause) {
			node++
			s.reopen(ctx, w.wire.caller(node))
		}
	}
}

// drain hands out results until the stream breaks.
func (s *resultStream) drain() {
	ev := &compat.WorkflowRunEvent{}
	for s.stream.RecvMsg(ev) == nil {
		now := time.Now()
		s.mu.Lock()
		by := s.waiting[ev.GetWorkflowRunId()]
		delete(s.waiting, ev.GetWorkflowRunId())
		s.mu.Unlock()
		if by != nil {
			by.finished(succeeded(ev), now)
		}
	}
}

// reopen asks a node for all that is still awaited.
func (s *resultStream) reopen(ctx context.Context, conn grpc.ClientConnInterface) {
	stream, err := compat.NewDispatcherClient(conn).SubscribeToWorkflowRuns(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.stream = stream
	runs := slices.Collect(maps.Keys(s.waiting))
	s.mu.Unlock()
	for _, run := range runs {
		s.ask(stream, run)
	}
}

// succeeded reports whether all tasks of a run did.
func succeeded(ev *compat.WorkflowRunEvent) bool {
	for _, r := range ev.GetResults() {
		if r.Error != nil {
			return false
		}
	}
	return len(ev.GetResults()) > 0
}

// pause waits, and reports false if the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
