package limpet

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

// Result is what a run gave.
type Result struct {
	// RunID is the run.
	RunID string
	// Outputs are the outputs of its tasks, as JSON, by name.
	Outputs map[string]json.RawMessage
}

// Into decodes the output of a task. The error names the task, or says that it
// gave nothing.
func (r *Result) Into(task string, out any) error {
	raw, ok := r.Outputs[task]
	if !ok {
		return fmt.Errorf("limpet: run %s has no output of a task %q", r.RunID, task)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("limpet: output of task %q of run %s: %w", task, r.RunID, err)
	}
	return nil
}

// results is the client's one subscription to the ends of runs. Its goroutine
// starts with the first that waits and ends with close.
type results struct {
	client *Client
	ctx    context.Context //nolint:containedctx // the life of the client
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	started bool
	closed  bool
	waiting map[string][]chan *compat.WorkflowRunEvent
	queue   []string      // runs that the present stream was not asked for yet
	live    bool          // there is one
	some    chan struct{} // capacity 1: somebody waits
	asked   chan struct{} // capacity 1: the queue has grown
}

func newResults(c *Client) *results {
	r := &results{client: c, done: make(chan struct{}), waiting: map[string][]chan *compat.WorkflowRunEvent{}, some: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *results) close() {
	r.cancel()
	r.mu.Lock()
	r.closed = true
	started := r.started
	r.mu.Unlock()
	if started {
		<-r.done
	}
}

// wait gives the end of a run.
func (r *results) wait(ctx context.Context, run string) (*Result, error) {
	end := make(chan *compat.WorkflowRunEvent, 1)
	r.add(run, end) //nolint:contextcheck // The subscription lives as long as the client.
	defer r.remove(run, end)
	select {
	case e := <-end:
		return resultOf(e)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for run %s: %w", run, context.Cause(ctx))
	case <-r.ctx.Done():
		return nil, fmt.Errorf("wait for run %s: the client is closed", run)
	}
}

func resultOf(e *compat.WorkflowRunEvent) (*Result, error) {
	out := &Result{RunID: e.GetWorkflowRunId(), Outputs: map[string]json.RawMessage{}}
	failed := &RunError{RunID: out.RunID}
	for _, t := range e.GetResults() {
		switch {
		case t.GetError() != "":
			if failed.Message == "" {
				failed.Task, failed.Message = t.GetTaskName(), t.GetError()
			}
		case t.Output != nil:
			out.Outputs[t.GetTaskName()] = json.RawMessage(t.GetOutput())
		}
	}
	if failed.Message != "" {
		return nil, failed
	}
	return out, nil
}

func (r *results) add(run string, end chan *compat.WorkflowRunEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started && !r.closed {
		r.started = true
		go r.run()
	}
	r.waiting[run] = append(r.waiting[run], end)
	if r.live {
		r.queue = append(r.queue, run)
	}
	for _, c := range []chan struct{}{r.some, r.asked} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (r *results) remove(run string, end chan *compat.WorkflowRunEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.waiting[run]
	for i := range list {
		if list[i] == end {
			r.waiting[run] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(r.waiting[run]) == 0 {
		delete(r.waiting, run)
	}
}

func (r *results) run() {
	defer close(r.done)
	var b backoff
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.some:
		}
		for r.ctx.Err() == nil && r.busy() {
			conn, err := r.client.nodes.Get()
			if err != nil {
				return
			}
			err = r.serve(conn, &b)
			if r.ctx.Err() != nil {
				return
			}
			r.client.cfg.log.Debug("the subscription to results is opened at another node", "node", conn.Addr, "error", err)
			r.client.nodes.Failed(conn)
			b.wait(r.ctx)
		}
	}
}

func (r *results) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0
}

// serve takes results from one node until its stream ends.
func (r *results) serve(conn *nodes.Conn, b *backoff) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := compat.NewDispatcherClient(grpc.ClientConnInterface(conn.ClientConn)).SubscribeToWorkflowRuns(ctx)
	if err != nil {
		return err
	}
	r.open()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		r.send(ctx, stream)
	}()
	defer func() {
		cancel()
		<-sent
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queue, r.live = nil, false
	}()
	for {
		e, err := stream.Recv()
		if err != nil {
			return err
		}
		b.next = 0
		r.mu.Lock()
		list := r.waiting[e.GetWorkflowRunId()]
		delete(r.waiting, e.GetWorkflowRunId())
		r.mu.Unlock()
		for _, end := range list {
			end <- e // it has room for one, and gets one
		}
	}
}

// open puts all that is waited for into the queue of a new stream.
func (r *results) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue, r.live = nil, true
	for run := range r.waiting {
		r.queue = append(r.queue, run)
	}
}

// send asks for what is in the queue, beside what is received: a node that
// answers while it is being asked must not wait for us, nor we for it.
func (r *results) send(ctx context.Context, stream compat.Dispatcher_SubscribeToWorkflowRunsClient) {
	for {
		r.mu.Lock()
		queue := r.queue
		r.queue = nil
		r.mu.Unlock()
		for _, run := range queue {
			if stream.Send(&compat.SubscribeToWorkflowRunsRequest{WorkflowRunId: run}) != nil {
				return // the reason shows where it is received from
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
		}
	}
}
