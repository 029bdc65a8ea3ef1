// Package rpc is the gRPC that the published SDKs speak: it turns their calls
// into commands, and the state into their answers.
//
// The shape of a request is checked here and refused with the field and the
// value at fault; whether it is true (that a worker exists, that a DAG has no
// cycle) is decided by the state machine.
package rpc

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/session"
)

const (
	// DefaultHold is how long a call is held while there is no leader. SDKs give
	// up after 8 to 13 s, and most elections end long before.
	DefaultHold = 10 * time.Second
	// DefaultReadHold is how long a read may wait to be sure that it is current.
	// A heartbeat is given up by its SDK after 5 s.
	DefaultReadHold = 3 * time.Second
	// DefaultRegisterHold is longer than a silent process keeps its lease. SDKs
	// give up after 30 s.
	DefaultRegisterHold = 25 * time.Second
)

// Config is what the services are made of.
type Config struct {
	Backend  transport.Backend
	Hub      *session.Hub
	Counters *transport.Counters
	Logger   hclog.Logger
	// MaxMessage limits payloads and results in bytes; 0 for
	// [transport.DefaultMaxMessage].
	MaxMessage int
	// Hold is how long a call is held while there is no leader, and ReadHold how
	// long a read; 0 for [DefaultHold] and [DefaultReadHold].
	Hold, ReadHold time.Duration
	// RegisterHold is how long a registration waits for the identity that it asks
	// for; 0 for [DefaultRegisterHold].
	RegisterHold time.Duration
	// Membership says how to become a gossip member; nil for not at all.
	Membership func() Membership
}

// Services implements the SDKs' services.
type Services struct {
	cfg Config
}

// New makes the services.
func New(cfg Config) *Services {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = transport.DefaultMaxMessage
	}
	if cfg.Hold == 0 {
		cfg.Hold = DefaultHold
	}
	if cfg.ReadHold == 0 {
		cfg.ReadHold = DefaultReadHold
	}
	if cfg.RegisterHold == 0 {
		cfg.RegisterHold = DefaultRegisterHold
	}
	return &Services{cfg: cfg}
}

// Register adds the SDKs' five services and ours for members to a server. Methods without a body here are
// answered with Unimplemented and their name.
func (s *Services) Register(r grpc.ServiceRegistrar) {
	compat.RegisterDispatcherServer(r, &dispatcher{Services: s})
	compat.RegisterWorkflowServiceServer(r, &workflows{Services: s})
	compat.RegisterEventsServiceServer(r, &events{Services: s})
	compatv1.RegisterAdminServiceServer(r, &admin{Services: s})
	compatv1.RegisterV1DispatcherServer(r, &durable{})
	limpetv1.RegisterMemberServer(r, &members{Services: s})
}

// durable is not served; that it is registered gives its methods a clear answer.
type durable struct {
	compatv1.UnimplementedV1DispatcherServer
}

// tenant gives the tenant of the call's token.
func tenant(ctx context.Context) (fsm.TenantID, error) {
	claims, ok := auth.FromContext(ctx)
	if !ok {
		return "", &auth.Error{Kind: auth.Unauthenticated, Text: "missing token"}
	}
	return claims.Tenant, nil
}

// propose hands a command to the cluster and waits for what became of it. A
// refusal comes back as the error.
func (s *Services) propose(ctx context.Context, what string, cmd fsm.Command) (fsm.Result, error) {
	if !fencedByAttempt(cmd) {
		transport.Identify(ctx, cmd)
	}
	res, err := s.cfg.Backend.ProposeWithin(ctx, s.cfg.Hold, cmd)
	if err != nil {
		return res, transport.Unconfirmed(what, err)
	}
	if res.Refusal != nil {
		return res, res.Refusal
	}
	return res, nil
}

// fencedByAttempt reports whether a command can be repeated without a request id:
// to remember the ids of all reports would cost more than the reports.
func fencedByAttempt(cmd fsm.Command) bool {
	switch cmd.GetKind().(type) {
	case *limpetv1.Command_ReportStarted, *limpetv1.Command_ReportCompleted, *limpetv1.Command_ReportFailed, *limpetv1.Command_ReportCancelled:
		return true
	}
	return false
}

// current waits until reads of the view are linearizable.
func (s *Services) current(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadHold)
	defer cancel()
	if err := s.cfg.Backend.Barrier(ctx); err != nil {
		return transport.Unavailable("this node cannot tell whether its state is current: %v", err)
	}
	return nil
}

// worker finds a worker of the tenant. That there is none is said only when
// the view is known to be current: an SDK stops for good when it hears it.
func (s *Services) worker(ctx context.Context, id fsm.WorkerID) (*fsm.Worker, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	if w, ok := s.cfg.Backend.View().Worker(id); ok && w.Tenant == t {
		return w, nil
	}
	if err := s.current(ctx); err != nil {
		return nil, err
	}
	if w, ok := s.cfg.Backend.View().Worker(id); ok && w.Tenant == t {
		return w, nil
	}
	return nil, &fsm.Refusal{
		Code: fsm.CodeNotFound, Field: "worker_id", Got: string(id), Want: "no such worker is registered in this tenant",
		Hint: "register first; after Unsubscribe a worker has to register anew",
	}
}

// run finds a run of the tenant, by the same rule as worker.
func (s *Services) run(ctx context.Context, t fsm.TenantID, id fsm.RunID) (fsm.View, *fsm.Run, error) {
	view := s.cfg.Backend.View()
	if r, ok := view.Run(id); ok && r.Tenant == t {
		return view, r, nil
	}
	if err := s.current(ctx); err != nil {
		return view, nil, err
	}
	view = s.cfg.Backend.View()
	if r, ok := view.Run(id); ok && r.Tenant == t {
		return view, r, nil
	}
	if past, a, err := transport.Past(ctx, s.cfg.Backend, t, string(id)); err != nil || a != nil && a.Run.ID == id {
		return past, runOf(a), err
	}
	return view, nil, &fsm.Refusal{
		Code: fsm.CodeNotFound, Field: "external_id", Got: string(id), Want: "workflow run not found",
		Hint: "check the id; finished runs are kept for a limited time",
	}
}

func runOf(a *fsm.Archived) *fsm.Run {
	if a == nil {
		return nil
	}
	return a.Run
}

// newID mints an id that sorts by time.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", transport.Unavailable("make an id: %v", err)
	}
	return id.String(), nil
}

func itoa[T ~int | ~int32 | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
