package limpet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/client/internal/member"
)

const (
	heartbeatEvery = 4 * time.Second
	// registerFor bounds one try to register: a node holds it until the identity
	// is free.
	registerFor = 28 * time.Second
	// DefaultDrainTimeout is how long a worker that stops goes on with what it
	// holds.
	DefaultDrainTimeout = 30 * time.Second
	// DefaultSlots is how many tasks a worker executes at a time.
	DefaultSlots = 100
)

// Worker executes tasks. It is run once.
type Worker struct {
	client      *Client
	name        string
	log         *slog.Logger
	definitions []*workflow
	handlers    map[string]handler
	workflowOf  map[string]string // by action
	slots       int32
	labels      map[string]any
	gossip      GossipConfig
	noGossip    bool
	drainFor    time.Duration
	incarnation string

	// reporting outlives the tasks: what they gave is told until a node takes it.
	reporting   context.Context //nolint:containedctx // the life of the worker
	stopTelling context.CancelFunc
	background  sync.WaitGroup
	member      *member.Member

	mu       sync.Mutex
	id       string
	running  map[string]*execution // by task run
	seen     map[orderKey]struct{}
	stopped  bool // nothing is begun any more
	stopOnce sync.Once
	stopping chan struct{}
	ran      bool
}

// GossipConfig says how the worker gossips.
type GossipConfig struct {
	// Bind is the host:port to listen on; empty for the address that reaches the
	// nodes and any port. Advertise is what others use instead.
	Bind, Advertise string
}

// WorkerOption is a setting of a [Worker].
type WorkerOption func(*Worker)

// WithWorkflows are what the worker executes.
func WithWorkflows(list ...Definition) WorkerOption {
	return func(w *Worker) {
		for _, d := range list {
			w.definitions = append(w.definitions, d.definition())
		}
	}
}

// WithSlots is how many tasks the worker executes at a time.
func WithSlots(n int32) WorkerOption { return func(w *Worker) { w.slots = n } }

// WithLabels are what tasks may ask for; values are strings or ints.
func WithLabels(labels map[string]any) WorkerOption {
	return func(w *Worker) {
		maps.Copy(w.labels, labels)
	}
}

// WithIdentity names the worker's place. Started again with the same identity it
// is the same worker, and runs pinned to it go on. No two processes can have one
// identity at a time: the newer waits until the older is gone.
func WithIdentity(identity string) WorkerOption {
	return func(w *Worker) { w.labels[limpetv1.LabelIdentity] = identity }
}

// WithGeneration names the state at the worker's place. Give another one when the
// state was lost: the worker is then another place, and runs pinned to the old one
// are told so. A worker that keeps its state in memory only needs a new one at
// every start.
func WithGeneration(generation string) WorkerOption {
	return func(w *Worker) { w.labels[limpetv1.LabelGeneration] = generation }
}

// WithGossip sets how the worker gossips. It does by default, if the server is
// Limpet.
func WithGossip(cfg GossipConfig) WorkerOption { return func(w *Worker) { w.gossip = cfg } }

// WithoutGossip leaves gossip out: the cluster then notices later that the
// process is dead.
func WithoutGossip() WorkerOption { return func(w *Worker) { w.noGossip = true } }

// WithDrainTimeout is how long a worker that stops goes on with what it holds.
func WithDrainTimeout(d time.Duration) WorkerOption { return func(w *Worker) { w.drainFor = d } }

// NewWorker makes a worker; [Worker.Run] starts it. The error names what is wrong
// with the worker or with one of its workflows.
func NewWorker(c *Client, name string, opts ...WorkerOption) (*Worker, error) {
	w := &Worker{
		client: c, name: name, log: c.cfg.log.With("worker", name), handlers: map[string]handler{}, workflowOf: map[string]string{},
		slots: DefaultSlots, labels: map[string]any{}, drainFor: DefaultDrainTimeout, incarnation: uuid.NewString(),
		running: map[string]*execution{}, seen: map[orderKey]struct{}{}, stopping: make(chan struct{}),
	}
	for _, o := range opts {
		o(w)
	}
	switch {
	case strings.TrimSpace(name) == "":
		return nil, errors.New("limpet: the name of a worker must not be empty")
	case len(w.definitions) == 0:
		return nil, fmt.Errorf("limpet: worker %q has nothing to execute: use WithWorkflows", name)
	case w.slots < 1:
		return nil, fmt.Errorf("limpet: worker %q: slots is %d: must be at least 1", name, w.slots)
	case w.drainFor < 0:
		return nil, fmt.Errorf("limpet: worker %q: the drain timeout is %v: must not be negative", name, w.drainFor)
	}
	if _, err := wireLabels(w.labels); err != nil {
		return nil, err
	}
	for _, d := range w.definitions {
		if err := d.check(); err != nil {
			return nil, err
		}
		for action, h := range d.handlers {
			if other, ok := w.workflowOf[action]; ok {
				return nil, fmt.Errorf("limpet: worker %q: the workflows %q and %q both have the action %q", name, other, d.request.GetName(), action)
			}
			w.handlers[action], w.workflowOf[action] = h, d.request.GetName()
		}
	}
	w.reporting, w.stopTelling = context.WithCancel(context.Background())
	return w, nil
}

// ID is the worker's id; empty before it is registered.
func (w *Worker) ID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}

// Stop makes Run drain and return, as the end of its context does.
func (w *Worker) Stop() { w.stopOnce.Do(func() { close(w.stopping) }) }

// Run registers the workflows and the worker and executes tasks, until ctx ends
// or [Worker.Stop] is called. Then it drains: it takes nothing new, finishes what
// it holds within the drain timeout, and leaves; that gives nil. Other errors:
// the workflows or the worker were refused, or [ErrFenced].
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.ran {
		w.mu.Unlock()
		return fmt.Errorf("limpet: worker %q was run already: make a new one", w.name)
	}
	w.ran = true
	w.mu.Unlock()
	defer w.stopTelling()
	// The life of the worker is longer than ctx: it ends with the drain.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	setUp, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.stopping:
			cancel()
		case <-setUp.Done():
		}
	}()
	if err := w.setUp(setUp); err != nil {
		if w.member != nil {
			w.member.Close()
		}
		if setUp.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	w.log.Info("worker registered", "id", w.ID(), "slots", w.slots, "gossip", w.member.Name() != "")
	var loops sync.WaitGroup
	ended := make(chan error, 1)
	loops.Go(func() { ended <- w.listen(life) })
	loops.Go(func() { w.heartbeat(life) })
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = w.drainUntil(life, ended)
	case <-w.stopping:
		err = w.drainUntil(life, ended)
	}
	w.abort(err)
	if err == nil {
		w.leave() //nolint:contextcheck // The worker says farewell although ctx has ended.
	} else {
		w.member.Close()
	}
	end(nil)
	loops.Wait()
	return err
}

func (w *Worker) setUp(ctx context.Context) error {
	for _, d := range w.definitions {
		if err := d.put(ctx); err != nil {
			return err
		}
	}
	var err error
	w.member, err = member.Start(ctx, member.Config{
		Nodes: w.client.nodes, Token: w.client.cfg.token, Bind: w.gossip.Bind, Advertise: w.gossip.Advertise, Disabled: w.noGossip,
		Version: "go-sdk", Logger: w.log,
	})
	if err != nil {
		return err
	}
	return w.register(ctx)
}

// register makes the worker known, and waits for its identity as long as ctx
// lasts.
func (w *Worker) register(ctx context.Context) error {
	labels, err := wireLabels(w.labels)
	if err != nil {
		return err
	}
	r := &compat.WorkerRegisterRequest{
		WorkerName: w.name, Labels: labels, SlotConfig: map[string]int32{defaultSlot: w.slots},
		RuntimeInfo: &compat.RuntimeInfo{
			SdkVersion: new("limpet"), Language: new(compat.SDKS_GO), LanguageVersion: new(runtime.Version()), Os: new(runtime.GOOS),
		},
	}
	for action := range w.handlers {
		r.Actions = append(r.Actions, action)
	}
	ctx = metadata.AppendToOutgoingContext(w.speaking(ctx), limpetv1.HeaderMember, w.member.Name())
	return w.client.callFor(ctx, fmt.Sprintf("register worker %q", w.name), registerFor, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		res, err := compat.NewDispatcherClient(conn).Register(ctx, r)
		if err == nil {
			w.mu.Lock()
			w.id = res.GetWorkerId()
			w.mu.Unlock()
		}
		return err
	})
}

// speaking makes calls say of which start of the process they are.
func (w *Worker) speaking(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, limpetv1.HeaderIncarnation, w.incarnation)
}

func wireLabels(labels map[string]any) (map[string]*compat.WorkerLabels, error) {
	out := map[string]*compat.WorkerLabels{}
	for k, v := range labels {
		switch v := v.(type) {
		case string:
			out[k] = &compat.WorkerLabels{StrValue: &v}
		case int:
			out[k] = &compat.WorkerLabels{IntValue: new(int32(v))} //nolint:gosec // as the wire has it
		default:
			return nil, fmt.Errorf("limpet: label %q is a %T: must be a string or an int", k, v)
		}
	}
	return out, nil
}
