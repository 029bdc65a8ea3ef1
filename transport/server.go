package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // three of the four SDKs compress every call
	"google.golang.org/grpc/keepalive"

	"github.com/limpet-dev/limpet/transport/auth"
)

const (
	// DefaultMaxMessage is the limit of one message in bytes: what the SDKs'
	// gRPC libraries receive by default.
	DefaultMaxMessage = 4 << 20
	// hardFactor: a message over the limit is read, up to this many times the
	// limit, so that its sender can be told what is wrong in our own words.
	hardFactor = 4

	// The SDKs ping every 10 s also without calls, and would be sent away if
	// that was not allowed.
	minClientPing = time.Second
	// A peer that answers no ping for pingEvery + pingTimeout is gone.
	pingEvery   = 10 * time.Second
	pingTimeout = 10 * time.Second

	// handlers is how many goroutines wait for calls: one that has served a call
	// has the stack for the next. A worker's stream holds one for as long as it is
	// open. Calls beyond them get goroutines of their own.
	handlers = 4096
)

// ServerConfig is what a gRPC server is made of.
type ServerConfig struct {
	Verifier *auth.Verifier
	Counters *Counters
	Logger   hclog.Logger
	// TLS is nil for plain text.
	TLS *tls.Config
	// MaxMessage limits requests and results in bytes; 0 for
	// [DefaultMaxMessage].
	MaxMessage int
	// Role says which role a full method name needs, "" for none, so that it
	// may be called without a token. Nil for [MethodRole].
	Role func(method string) auth.Role
	// Outside says why this node is no part of the cluster any more, so that all
	// calls are to be made at another; "" while it is. Nil for always.
	Outside func() string
	// Drain ends the long streams with the reason, before the server stops;
	// they must end with Unavailable, which grpc itself does not do.
	Drain func(reason string)
}

// MethodRole is the usual rule: the operators' service needs an admin's token,
// health checks and reflection need none, and all else needs any token.
func MethodRole(method string) auth.Role {
	switch {
	case strings.HasPrefix(method, "/limpet.v1.Member/"):
		return auth.RoleSDK
	case strings.HasPrefix(method, "/limpet."):
		return auth.RoleAdmin
	case strings.HasPrefix(method, "/grpc."):
		return ""
	default:
		return auth.RoleSDK
	}
}

// Server is a gRPC server with all that every service needs around it:
// compression, keepalive, limits, tokens, error mapping, counting and logging.
type Server struct {
	grpc  *grpc.Server
	drain func(string)
	log   hclog.Logger
}

// NewServer makes a server; register services, then call Serve.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = DefaultMaxMessage
	}
	if cfg.Role == nil {
		cfg.Role = MethodRole
	}
	if cfg.Outside == nil {
		cfg.Outside = func() string { return "" }
	}
	i := &interceptor{
		outside: cfg.Outside, verifier: cfg.Verifier, role: cfg.Role, counters: cfg.Counters, log: cfg.Logger, limit: cfg.MaxMessage,
	}
	opts := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(i.unary),
		grpc.ChainStreamInterceptor(i.stream),
		grpc.UnknownServiceHandler(unknown),
		grpc.NumStreamWorkers(handlers),
		grpc.MaxRecvMsgSize(hardFactor * cfg.MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
	}
	if cfg.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(cfg.TLS)))
	}
	return &Server{grpc: grpc.NewServer(opts...), drain: cfg.Drain, log: cfg.Logger}
}

// RegisterService implements [grpc.ServiceRegistrar].
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// Serve answers calls on the listener until Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil {
		return fmt.Errorf("serve gRPC on %q: %w", l.Addr(), err)
	}
	return nil
}

// Stop ends the streams with Unavailable, lets unary calls finish until the
// context ends, and then cuts what is left.
func (s *Server) Stop(ctx context.Context) {
	if s.drain != nil {
		s.drain("this node is shutting down")
	}
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Warn("calls are cut: they did not end in time")
		s.grpc.Stop()
		<-done
	}
}
