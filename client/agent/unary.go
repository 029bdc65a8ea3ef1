package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	// callFor bounds a call without a deadline of its own.
	callFor = 60 * time.Second
	// tryFor bounds one try: a node holds a call for 10 s during an election.
	tryFor = 12 * time.Second
	// registerFor is the same for a registration, which waits at the node until
	// its identity is free.
	registerFor = 28 * time.Second
	// heartbeatFor is how long a heartbeat looks for a node that answers.
	heartbeatFor = 2 * time.Second
)

// call is one unary call of the program on its way.
type call struct {
	method  string
	request frame
	reply   frame
	header  metadata.MD
	trailer metadata.MD
	each    time.Duration
	// name and number are the place that a registration asks for, of which life.
	name, incarnation string
	number            int
}

// unary passes a call on, and repeats it at other nodes until one has answered.
// All tries have one request id, so that it applies once.
func (p *proxy) unary(stream grpc.ServerStream, method string) error {
	c := &call{method: method, each: tryFor}
	if err := stream.RecvMsg(&c.request); err != nil {
		return err
	}
	p.mu.Lock()
	incarnation := p.incarnation
	p.mu.Unlock()
	extra := []string{limpetv1.HeaderRequestID, uuid.NewString(), limpetv1.HeaderIncarnation, incarnation}
	limit := callFor
	switch method {
	case methodRegister:
		if err := p.introduce(c); err != nil {
			return err
		}
		extra = append(extra, limpetv1.HeaderMember, p.member())
		c.each = registerFor
	case methodHeartbeat:
		limit = heartbeatFor
	}
	ctx, cancel := context.WithTimeout(outgoing(stream.Context(), extra...), limit)
	defer cancel()
	err := p.invoke(ctx, c)
	if err != nil && method == methodRegister {
		p.release(c.incarnation, c.name, c.number) // a repeated call is of the same place
	}
	switch {
	case err != nil && method == methodHeartbeat && again(err):
		// The program lives and so does the agent: that no node answers now is no
		// reason for it to give up.
		c.reply.data = nil
		err = nil
	case err == nil && method == methodRegister:
		p.remember(c)
	case err == nil && method == methodUnsubscribe:
		p.goodbye(c.request.data)
	}
	if len(c.header) > 0 {
		_ = stream.SetHeader(c.header)
	}
	stream.SetTrailer(c.trailer)
	if err != nil {
		return err
	}
	return stream.SendMsg(&c.reply)
}

// invoke makes the call at one node after the other until ctx ends.
func (p *proxy) invoke(ctx context.Context, c *call) error {
	var b backoff
	for {
		conn, err := p.nodes.Get()
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		err = c.try(ctx, conn)
		if err == nil || !again(err) {
			return err
		}
		p.nodes.Failed(conn)
		if ctx.Err() != nil || !b.wait(ctx) {
			return status.Error(codes.Unavailable, "no node answered in time; the last said: "+status.Convert(err).Message())
		}
		p.log.Debug("a call is repeated at another node", "method", c.method, "node", conn.Addr, "error", err)
	}
}

func (c *call) try(ctx context.Context, conn *nodes.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.each)
	defer cancel()
	c.header, c.trailer = nil, nil
	return conn.Invoke(ctx, c.method, &c.request, &c.reply, grpc.ForceCodecV2(rawCodec{}), grpc.Header(&c.header), grpc.Trailer(&c.trailer))
}

// introduce adds to a registration where the worker is: its identity is that of
// the agent and its name, so that a program may have several workers.
func (p *proxy) introduce(c *call) error {
	var r compat.WorkerRegisterRequest
	if err := proto.Unmarshal(c.request.data, &r); err != nil {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("the registration cannot be read: %v", err))
	}
	if r.Labels == nil {
		r.Labels = map[string]*compat.WorkerLabels{}
	}
	p.mu.Lock()
	identity := p.place.identity + "/" + r.GetWorkerName()
	c.name, c.number, c.incarnation = r.GetWorkerName(), 1, p.incarnation
	taken := p.names[c.name]
	if taken == nil {
		taken = map[int]bool{}
		p.names[c.name] = taken
	}
	for taken[c.number] {
		c.number++
	}
	taken[c.number] = true
	if c.number > 1 {
		identity += fmt.Sprintf("#%d", c.number) // another worker of that name in the same process
	}
	generation := p.generation
	p.mu.Unlock()
	if r.Labels[limpetv1.LabelIdentity] == nil {
		r.Labels[limpetv1.LabelIdentity] = &compat.WorkerLabels{StrValue: &identity}
	}
	if r.Labels[limpetv1.LabelGeneration] == nil {
		r.Labels[limpetv1.LabelGeneration] = &compat.WorkerLabels{StrValue: &generation}
	}
	var err error
	if c.request.data, err = proto.Marshal(&r); err != nil {
		return status.Error(codes.Internal, fmt.Sprintf("write the registration: %v", err))
	}
	return nil
}

// release gives a worker's name back, unless the program was started anew since.
func (p *proxy) release(incarnation, name string, number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.incarnation == incarnation {
		delete(p.names[name], number)
	}
}

// remember keeps the worker that a registration made.
func (p *proxy) remember(c *call) {
	var r compat.WorkerRegisterResponse
	if proto.Unmarshal(c.reply.data, &r) != nil {
		return
	}
	p.mu.Lock()
	if p.incarnation != c.incarnation {
		p.mu.Unlock()
		return // of a start that has ended since
	}
	p.workers[r.GetWorkerId()] = &localWorker{id: r.GetWorkerId(), name: c.name, number: c.number}
	p.mu.Unlock()
	if err := p.place.registered(r.GetWorkerId()); err != nil {
		p.log.Warn("the worker could not be noted: after a crash of this agent its lease ends by silence", "error", err)
	}
	p.log.Info("worker registered", "worker", r.GetWorkerId(), "name", r.GetWorkerName())
}

// goodbye notes that a worker has left, so that nothing brings it back.
func (p *proxy) goodbye(request []byte) {
	var r compat.WorkerUnsubscribeRequest
	if proto.Unmarshal(request, &r) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.workers[r.GetWorkerId()]; w != nil && !w.left {
		w.left = true
		delete(p.names[w.name], w.number)
	}
}
