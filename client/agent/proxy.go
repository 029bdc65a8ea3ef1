package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // some SDKs compress
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	maxMessage = 64 << 20
	// The pauses between tries at nodes.
	pauseMin, pauseMax = 20 * time.Millisecond, 500 * time.Millisecond
)

// The methods that the agent has a part in.
const (
	methodRegister    = "/Dispatcher/Register"
	methodListen      = "/Dispatcher/Listen"
	methodListenV2    = "/Dispatcher/ListenV2"
	methodHeartbeat   = "/Dispatcher/Heartbeat"
	methodUnsubscribe = "/Dispatcher/Unsubscribe"
	methodResults     = "/Dispatcher/SubscribeToWorkflowRuns"
)

// proxy is the local end that the program connects to.
type proxy struct {
	nodes *nodes.Set
	log   *slog.Logger
	place *place
	// member gives the process's name in gossip.
	member func() string
	// streams are the methods that are not unary, by full name.
	streams map[string]bool

	mu          sync.Mutex
	over        bool // the program's present life: no stream of it is opened
	incarnation string
	generation  string
	workers     map[string]*localWorker
	// names are the numbers that are taken of each worker name in the present life.
	names map[string]map[int]bool
	// fenced is closed once a newer process has taken the place of this one.
	fenced     chan struct{}
	fencedOnce sync.Once
}

// localWorker is a worker of the program's present life.
type localWorker struct {
	id   string
	left bool // it said goodbye
	// name and number make its place.
	name   string
	number int
	// stop ends the stream that it listens on; a newer one takes its place.
	stop context.CancelFunc
}

func newProxy(set *nodes.Set, p *place, member func() string, log *slog.Logger) *proxy {
	x := &proxy{nodes: set, place: p, member: member, log: log, streams: map[string]bool{}, workers: map[string]*localWorker{}, names: map[string]map[int]bool{}, fenced: make(chan struct{})}
	for _, d := range []*grpc.ServiceDesc{
		&compat.Dispatcher_ServiceDesc, &compat.WorkflowService_ServiceDesc, &compat.EventsService_ServiceDesc,
		&compatv1.AdminService_ServiceDesc, &compatv1.V1Dispatcher_ServiceDesc, &limpetv1.Member_ServiceDesc,
	} {
		for _, s := range d.Streams {
			x.streams["/"+d.ServiceName+"/"+s.StreamName] = true
		}
	}
	return x
}

// server makes the gRPC server of the local end.
func (p *proxy) server() *grpc.Server {
	return grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(p.handle),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
}

// begin makes the calls from now on those of a new start of the program; the life
// before it has ended.
func (p *proxy) begin(incarnation, generation string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.incarnation, p.generation = false, incarnation, generation
	p.workers, p.names = map[string]*localWorker{}, map[string]map[int]bool{}
}

// end closes the streams of the present life, whose program is no more. One that
// opened at another node would have its worker live again.
func (p *proxy) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, w := range p.workers {
		if w.stop != nil {
			w.stop()
		}
	}
}

// present gives the workers of the present life that have not said goodbye, and
// its incarnation.
func (p *proxy) present() (incarnation string, workers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, w := range p.workers {
		if !w.left {
			workers = append(workers, id)
		}
	}
	slices.Sort(workers)
	return p.incarnation, workers
}

// handle takes every call of the program.
func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(stream)
	if !ok {
		return status.Error(codes.Internal, "the agent does not know which method is called")
	}
	switch {
	case method == methodListenV2 || method == methodListen:
		return p.listen(stream, method)
	case method == methodResults:
		return p.results(stream, method)
	case p.streams[method]:
		return p.pipe(stream, method)
	default:
		return p.unary(stream, method)
	}
}

// outgoing gives the context of a call to a node: with the program's headers,
// and without what belongs to its connection.
func outgoing(ctx context.Context, extra ...string) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for k, v := range maps.All(in) {
		if k == "user-agent" || k == "content-type" || strings.HasPrefix(k, ":") || strings.HasPrefix(k, "grpc-") {
			continue
		}
		out[k] = v
	}
	// Nodes answer some SDKs in another form than others, by this.
	if agent := in.Get("user-agent"); len(agent) > 0 {
		out.Set(limpetv1.HeaderUserAgent, agent[0])
	}
	for i := 0; i+1 < len(extra); i += 2 {
		if extra[i+1] != "" {
			out.Set(extra[i], extra[i+1])
		}
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// again reports whether a call that ended so should be repeated at another node.
func again(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return true
	default:
		return false
	}
}

// backoff waits a little longer each time; false when ctx ends.
type backoff struct{ next time.Duration }

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

// pipe passes a stream of any kind on to one node, and ends with it.
func (p *proxy) pipe(stream grpc.ServerStream, method string) error {
	ctx, cancel := context.WithCancel(outgoing(stream.Context()))
	defer cancel()
	conn, err := p.nodes.Get()
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	up, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true))
	if err != nil {
		p.nodes.Failed(conn)
		return err
	}
	go func() {
		for {
			var f frame
			if err := stream.RecvMsg(&f); err != nil {
				_ = up.CloseSend()
				return
			}
			if err := up.SendMsg(&f); err != nil {
				return
			}
		}
	}()
	if md, err := up.Header(); err == nil {
		_ = stream.SendHeader(md)
	}
	for {
		var f frame
		err := up.RecvMsg(&f)
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(up.Trailer())
			return nil
		}
		if err != nil {
			stream.SetTrailer(up.Trailer())
			if again(err) && stream.Context().Err() == nil {
				p.nodes.Failed(conn)
				return status.Error(codes.Unavailable, status.Convert(err).Message())
			}
			return err
		}
		if err := stream.SendMsg(&f); err != nil {
			return err
		}
	}
}
