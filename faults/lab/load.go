package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/history"
)

// load is the clients: each starts runs, waits for their results, reads, cancels
// and replays, and notes what it was told.
type load struct {
	lab     *Lab
	clients []*client
	stop    context.CancelFunc
	wg      sync.WaitGroup
	waiting atomic.Int64
}

// client is one of them.
type client struct {
	lab   *Lab
	name  string
	sdk   *limpet.Client
	flows *flows
	rand  *rand.Rand
	calls int

	mu   sync.Mutex
	runs []string // those of late
}

const (
	// patience is how long a call of a client may take.
	callPatience = 15 * time.Second
	// resultPatience is how long a client waits for a result: longer than all that
	// may come between.
	resultPatience = 5 * time.Minute
	// callName is the metadata by which a run says which call started it.
	callName = "lab_call"
)

func (l *Lab) newClient(name string, seed uint64) (*client, error) {
	sdk, err := limpet.New(limpet.WithToken(l.token), limpet.WithEndpoints(l.addrs()...), limpet.WithLogger(silent()),
		limpet.WithDialOptions(grpc.WithChainUnaryInterceptor(countTry)))
	if err != nil {
		return nil, err
	}
	return &client{lab: l, name: name, sdk: sdk, flows: declare(sdk, nil), rand: rand.New(rand.NewPCG(l.cfg.Seed, seed))}, nil //nolint:gosec // repeatable on purpose
}

// startLoad begins with so many clients.
func (l *Lab) startLoad(ctx context.Context, clients int) error {
	ctx, cancel := context.WithCancel(ctx)
	l.load = &load{lab: l, stop: cancel}
	for i := range clients {
		c, err := l.newClient("client-"+strconv.Itoa(i+1), uint64(i)+100) //nolint:gosec // small
		if err != nil {
			return err
		}
		l.load.clients = append(l.load.clients, c)
		l.load.wg.Go(func() { c.work(ctx, l.load) })
	}
	return nil
}

// pause ends the starting of runs; results are still waited for.
func (ld *load) pause() {
	ld.stop()
	ld.wg.Wait()
}

func (ld *load) close() {
	for _, c := range ld.clients {
		_ = c.sdk.Close()
	}
}

func (c *client) work(ctx context.Context, ld *load) {
	const least, spread = 150, 700
	for ctx.Err() == nil {
		switch p := c.rand.IntN(100); {
		case p < 78:
			var opts []limpet.RunOption
			if c.lab.favourite != "" && c.rand.IntN(8) == 0 {
				opts = append(opts, limpet.WithRunWorker(c.lab.favourite))
			}
			c.start(ctx, ld, opts...)
		case p < 84:
			c.cancel(ctx, c.recent())
		case p < 89:
			c.replay(ctx, c.recent())
		default:
			c.read(ctx, c.recent())
		}
		_ = sleep(ctx, time.Duration(least+c.rand.IntN(spread))*time.Millisecond)
	}
}

// start starts a run: mostly as the SDK does, and now and then without its
// patience. Its run is looked for at once at some node, or its result waited for.
func (c *client) start(ctx context.Context, ld *load, opts ...limpet.RunOption) {
	var id string
	var run *limpet.RunRef
	if c.rand.IntN(3) == 0 {
		id = c.insist(ctx, c.pickFlow(), c.pickInput())
	} else if run = c.trigger(ctx, c.pickFlow(), c.pickInput(), opts...); run != nil {
		id = run.ID()
	}
	if c.rand.IntN(3) == 0 {
		c.read(ctx, id)
	}
	if run != nil && c.rand.IntN(4) > 0 {
		c.await(ctx, ld, run)
	}
}

func (c *client) pickFlow() string {
	return []string{flowOne, flowGraph, flowChain, flowChain, flowFan}[c.rand.IntN(5)]
}

func (c *client) pickInput() input {
	in := input{Ms: int64(10 + c.rand.IntN(400)), Fails: c.rand.IntN(10) == 0, Child: c.rand.IntN(3) == 0}
	if c.rand.IntN(15) == 0 {
		in.Ms = int64(2000 + c.rand.IntN(4000))
	}
	return in
}

func (c *client) recent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.runs) == 0 {
		return ""
	}
	return c.runs[c.rand.IntN(len(c.runs))]
}

// invoke notes a call; the function returned notes its outcome.
func (c *client) invoke(op, run, detail string) (call string, outcome func(err error, run, status string)) {
	c.calls++
	call = c.name + "/" + strconv.Itoa(c.calls)
	e := history.Event{Kind: history.Invoke, Client: c.name, Op: op, Call: call, Run: run, Detail: detail}
	c.lab.history.Add(e)
	return call, func(err error, run, state string) {
		e.Run, e.Status, e.Detail = run, state, ""
		switch {
		case err == nil:
			e.Kind = history.OK
		case refused(err):
			e.Kind, e.Detail = history.Refused, err.Error()
		default:
			e.Kind, e.Detail = history.Unknown, err.Error()
		}
		c.lab.history.Add(e)
	}
}

// trigger starts a run. The SDK repeats the call with one request id until a
// node answers or the patience is over: then nobody knows.
func (c *client) trigger(ctx context.Context, flow string, in input, opts ...limpet.RunOption) *limpet.RunRef {
	call, outcome := c.invoke(history.OpTrigger, "", flow)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callPatience)
	defer cancel()
	ctx, made := withTries(ctx)
	ref, err := c.flows.byName(flow).RunNoWait(ctx, in, append(opts, limpet.WithRunMetadata(map[string]any{callName: call}))...)
	if err != nil {
		outcome(made.of(err), "", "")
		return nil
	}
	outcome(nil, ref.ID(), "")
	c.remember(ref.ID())
	return ref
}

func (c *client) remember(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const keep = 20
	c.runs = append(c.runs, run)
	if len(c.runs) > keep {
		c.runs = c.runs[1:]
	}
}

// await waits for a run's result, beside the client's other calls.
func (c *client) await(ctx context.Context, ld *load, ref *limpet.RunRef) {
	run := ref.ID()
	c.lab.history.Add(history.Event{Kind: history.Subscribed, Client: c.name, Run: run})
	ld.waiting.Add(1)
	go func() {
		defer ld.waiting.Add(-1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resultPatience)
		defer cancel()
		state, out, err := resultOf(ctx, ref)
		if err == nil {
			c.lab.history.Add(history.Event{Kind: history.Delivered, Client: c.name, Run: run, Status: state, Output: out})
		}
	}()
}

func resultOf(ctx context.Context, ref *limpet.RunRef) (state, out string, err error) {
	res, err := ref.Result(ctx)
	if _, failed := errors.AsType[*limpet.RunError](err); failed {
		return history.Failed, "", nil
	}
	if err != nil {
		return "", "", err
	}
	return history.Completed, outputOf(res.Outputs), nil
}

// outputOf is the result of a run in one text.
func outputOf(tasks map[string]json.RawMessage) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		fmt.Fprintf(&out, "%s=%s\n", name, tasks[name])
	}
	return out.String()
}

func (c *client) cancel(ctx context.Context, run string) {
	if run == "" {
		return
	}
	_, outcome := c.invoke(history.OpCancel, run, "")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callPatience)
	defer cancel()
	ctx, made := withTries(ctx)
	outcome(made.of(c.sdk.Cancel(ctx, run)), run, "")
}

func (c *client) replay(ctx context.Context, run string) {
	if run == "" {
		return
	}
	_, outcome := c.invoke(history.OpReplay, run, "")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callPatience)
	defer cancel()
	ctx, made := withTries(ctx)
	outcome(made.of(c.sdk.Replay(ctx, run)), run, "")
}

// read asks a node for a run; which node is chance.
func (c *client) read(ctx context.Context, run string) {
	if run == "" {
		return
	}
	n := c.lab.nodes[c.rand.IntN(len(c.lab.nodes))]
	_, outcome := c.invoke(history.OpRead, run, n.name)
	ctx, cancel := context.WithTimeout(c.lab.asAdmin(context.WithoutCancel(ctx)), 5*time.Second)
	defer cancel()
	res, err := compatv1.NewAdminServiceClient(n.conn).GetRunDetails(ctx, &compatv1.GetRunDetailsRequest{ExternalId: run})
	if status.Code(err) == codes.NotFound {
		outcome(nil, run, "") // an answer, and a wrong one
		return
	}
	outcome(err, run, res.GetStatus().String())
}

// setMode drains or resumes a worker.
func (l *Lab) setMode(ctx context.Context, worker string, mode limpetv1.WorkerMode, deadline time.Duration) error {
	op := history.OpDrain
	if mode == limpetv1.WorkerMode_WORKER_MODE_ACTIVE {
		op = history.OpResume
	}
	l.history.Add(history.Event{Kind: history.Invoke, Client: "operator", Op: op, Worker: worker})
	return l.ask(ctx, callPatience, func(ctx context.Context, a limpetv1.AdminClient) error {
		_, err := a.SetMode(ctx, &limpetv1.SetModeRequest{Worker: worker, Mode: mode, DeadlineMs: deadline.Milliseconds(), Reason: "fault lab"})
		return err
	})
}

// workers gives the workers as the cluster sees them.
func (l *Lab) workers(ctx context.Context) (out []*limpetv1.WorkerInfo, err error) {
	err = l.ask(ctx, callPatience, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListWorkers(ctx, &limpetv1.ListWorkersRequest{})
		out = res.GetWorkers()
		return err
	})
	return out, err
}

// crewOf names the process of a worker.
func crewOf(w *limpetv1.WorkerInfo) string {
	name, _, _ := strings.Cut(w.GetName(), ".")
	return name
}

// crewsAt gives the processes whose workers have their streams at a node.
func (l *Lab) crewsAt(ctx context.Context, n *node) (out []*crew) {
	all, err := l.workers(ctx)
	if err != nil {
		return nil
	}
	there := map[string]bool{}
	for _, w := range all {
		if w.GetLease() == "live" && w.GetNode() == n.name {
			there[crewOf(w)] = true
		}
	}
	for _, c := range l.crews {
		if there[c.name] {
			out = append(out, c)
		}
	}
	return out
}
