// Package rest is the HTTP side of a node: health, metrics, the calls that the
// published SDKs make over HTTP, and a page for people.
//
// Health, metrics, /status.json and the page need no token and tell no
// secrets; what lies under /api/v1 needs one.
package rest

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
)

const (
	// maxBody limits the body of a request in bytes, and maxPayload that of one
	// which carries a run's input: as much as over gRPC, and its wrapping.
	maxBody    = 1 << 20
	maxPayload = transport.DefaultMaxMessage + 1<<16
	// hold is how long a write waits for a leader. SDKs that stop wait for their
	// last call for 10 s.
	hold = 8 * time.Second
	// readHold is how long a read waits to be sure that it is current.
	readHold = 3 * time.Second
)

// Config is what the handler is made of.
type Config struct {
	Backend  transport.Backend
	Verifier *auth.Verifier
	Counters *transport.Counters
	// Ready says whether the node can serve, and if not why not. Nil for always.
	Ready func() (ok bool, reason string)
	// Outside says why this node is no part of the cluster any more; "" while it
	// is. Nil for always.
	Outside func() string
	// Gossip gives what this node's gossip says of workers; nil without gossip.
	Gossip func() GossipCounts
	// History gives the figures of this node's history; nil without one.
	History func() HistoryCounts
	// Disk gives how the writes of this node's log went; nil for a node without one.
	Disk func() DiskCounts
	// Load gives how the node sees the load; nil for none.
	Load func() LoadCounts
	// Version of the program, for metrics and the verbose health check.
	Version string
	// Logger is nil for silence.
	Logger hclog.Logger
}

// LoadCounts are the figures on an overload for the metrics.
type LoadCounts struct {
	Saturated int64 // 1 or 0
	Refused   int64
	Repeats   int64 // commands that were sent again for want of an answer
}

// HistoryCounts are the figures of the finished runs on disk for the metrics.
type HistoryCounts struct {
	Files   int
	Bytes   int64
	Waiting int
	Dropped int
	Failed  int
}

// GossipCounts are the figures on the gossip of workers for the metrics.
type GossipCounts struct {
	Alive, Dead, Left                     int64
	Deaths                                int64
	ProbedAlive, ProbedGone, ProbedUnsure int64
}

type server struct {
	Config
	status *statusCache
}

// New makes the handler of a node's HTTP port.
func New(cfg Config) http.Handler {
	if cfg.Ready == nil {
		cfg.Ready = func() (bool, string) { return true, "" }
	}
	if cfg.Outside == nil {
		cfg.Outside = func() string { return "" }
	}
	if cfg.History == nil {
		cfg.History = func() HistoryCounts { return HistoryCounts{} }
	}
	if cfg.Load == nil {
		cfg.Load = func() LoadCounts { return LoadCounts{} }
	}
	if cfg.Gossip == nil {
		cfg.Gossip = func() GossipCounts { return GossipCounts{} }
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	s := &server{Config: cfg, status: newStatusCache(cfg.Backend)}
	mux := http.NewServeMux()
	for _, path := range []string{"/livez", "/api/live"} {
		mux.HandleFunc("GET "+path, s.live)
	}
	for _, path := range []string{"/readyz", "/api/ready"} {
		mux.HandleFunc("GET "+path, s.ready)
	}
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /status.json", s.summary)
	mux.HandleFunc("GET /{$}", newPage().serve)
	s.profiles(mux)

	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.api(r.answer))
	}
	mux.HandleFunc("/", s.notServed)
	return s.guard(mux)
}

// guard limits bodies, sets what every answer has, and turns a panic into an
// answer and a line in the log.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
				panic(p)
			}
			s.Logger.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			s.fail(w, r, &problem{http.StatusInternalServerError, "internal error at this node; its log has the details"})
		}()
		r.Body = http.MaxBytesReader(w, r.Body, maxPayload)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// call answers one API request of a verified caller: with a value for JSON, or
// with the reason why not.
type call func(r *http.Request, tenant fsm.TenantID) (any, error)

// api verifies the token, and that a tenant in the path is the token's.
func (s *server) api(h call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if why := s.Outside(); why != "" {
			s.fail(w, r, transport.Unavailable("%s", why))
			return
		}
		claims, err := s.Verifier.Request(r)
		if err == nil {
			err = sameTenant(r, claims.Tenant)
		}
		var out any
		if err == nil {
			out, err = h(r.WithContext(auth.WithClaims(r.Context(), claims)), claims.Tenant)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.Logger.Debug("request", "method", r.Method, "path", r.URL.Path)
		s.writeJSON(w, http.StatusOK, out)
	}
}

func (s *server) notServed(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, &problem{http.StatusNotFound, r.Method + " " + r.URL.Path + " is not served"})
}
