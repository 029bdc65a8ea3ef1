package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/internal/gcpace"
	"github.com/limpet-dev/limpet/scheduler"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/admin"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/rest"
	"github.com/limpet-dev/limpet/transport/rpc"
	"github.com/limpet-dev/limpet/transport/session"
)

func newServer(io stdio) *cobra.Command {
	s := defaultSettings()
	var file string
	var inLab labFlags
	cmd := &cobra.Command{
		Use: "server", Short: "Run one node of a cluster",
		Long: "Run one node of a cluster.\n\nA setting comes from its flag, else from the environment (LIMPET_ and its name in\ncapitals), else from the file (YAML, `name: value`), else from the default.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.load(cmd.Flags(), file, os.LookupEnv); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			if err := s.check(); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			p, err := newProgram(s, &inLab, hclog.New(&hclog.LoggerOptions{
				Name: s.Name, Level: s.level(), Output: io.err, JSONFormat: s.LogFormat == "json", Exclude: newSeldom(time.Now).exclude,
			}))
			if err != nil {
				return err
			}
			return p.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML file of settings")
	s.bind(cmd.Flags())
	inLab.bind(cmd.Flags())
	return cmd
}

// program is one node with all that listens for it: the place where cluster,
// scheduler and transport meet.
type program struct {
	s        *settings
	log      hclog.Logger
	node     *cluster.Node
	hub      *session.Hub
	counters *transport.Counters
	grpc     *transport.Server
	http     *http.Server
	fatal    chan error
	wall     func() time.Time
	sink     lateSink
}

// lateSink hands the node's effects to the hub, which is made after the node
// because it needs the node.
type lateSink struct {
	mu  sync.Mutex
	hub *session.Hub
}

func (l *lateSink) get() *session.Hub {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hub
}

func (l *lateSink) set(h *session.Hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hub = h
}

// Wake implements [cluster.Sink].
func (l *lateSink) Wake(effects []fsm.Effect) {
	if h := l.get(); h != nil {
		h.Wake(effects)
	}
}

// Reset implements [cluster.Sink].
func (l *lateSink) Reset() {
	if h := l.get(); h != nil {
		h.Reset()
	}
}

func newProgram(s *settings, inLab *labFlags, log hclog.Logger) (*program, error) {
	cfg, err := s.clusterConfig()
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	p := &program{s: s, log: log, counters: transport.NewCounters(), fatal: make(chan error, 4)}
	cfg.Decide, cfg.Sink, cfg.Logger = scheduler.Decide, &p.sink, log
	cfg.BootstrapCommand = p.bootstrapCommand
	cfg.OnIsolated = func(isolated bool) {
		if h := p.sink.get(); h != nil {
			h.SetIsolated(isolated)
		}
	}
	cfg.Fatal = func(err error) { p.fatal <- err }
	cfg.Wall = time.Now
	if err := inLab.apply(&cfg); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	p.wall = cfg.Wall
	if p.node, err = cluster.Open(context.Background(), cfg); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) || errors.Is(err, cluster.ErrDisk) {
			return nil, &exitError{code: exitDisk, err: err}
		}
		// Memberlist gives the words only.
		if strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			err = fmt.Errorf("%w; stop what has the port, or give another --peer or --gossip", err)
		}
		return nil, err
	}
	p.listenFor(&backend{Node: p.node})
	return p, nil
}

// listenFor makes all that listens for the node.
func (p *program) listenFor(b *backend) {
	verifier := auth.NewVerifier(b.View, p.wall)
	p.hub = session.NewHub(session.Config{Backend: b, Counters: p.counters, Logger: p.log.Named("session"), MaxMessage: p.s.MaxMessage})
	b.sessions = func() int { return len(p.hub.Sessions()) }
	p.sink.set(p.hub)
	p.grpc = transport.NewServer(transport.ServerConfig{
		Verifier: verifier, Counters: p.counters, Logger: p.log.Named("grpc"), MaxMessage: p.s.MaxMessage, Drain: p.hub.Shutdown,
		Outside: p.node.Outside,
	})
	rpc.New(rpc.Config{
		Backend: b, Hub: p.hub, Counters: p.counters, Logger: p.log.Named("rpc"), MaxMessage: p.s.MaxMessage,
		Membership: func() rpc.Membership { return membership(p.node.GossipInfo()) },
	}).Register(p.grpc)
	limpetv1.RegisterAdminServer(p.grpc, admin.New(admin.Config{
		Backend: b, Hub: p.hub, Operator: p.node, GRPCAddress: p.s.Broadcast, ServerURL: p.s.ServerURL, Version: version(), Now: p.wall,
	}))
	p.http = &http.Server{
		Handler: rest.New(rest.Config{
			Backend: b, Verifier: verifier, Counters: p.counters, Ready: p.node.Ready, Outside: p.node.Outside, Version: version(), Logger: p.log.Named("http"),
			Gossip:  func() rest.GossipCounts { return rest.GossipCounts(p.node.WorkerGossip()) },
			Load:    p.load,
			History: func() rest.HistoryCounts { return rest.HistoryCounts(p.node.HistoryStats()) },
			Disk: func() rest.DiskCounts {
				d := p.node.DiskHealth()
				return rest.DiskCounts{Writes: int64(d.Writes), Failures: int64(d.Failures), Stalls: int64(d.Stalls)} //nolint:gosec // counts
			},
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
}

// load is how the node sees the load, for the metrics.
func (p *program) load() rest.LoadCounts {
	l := p.node.Load()
	c := rest.LoadCounts{Refused: l.Refused, Repeats: l.Repeats}
	if l.Saturated {
		c.Saturated = 1
	}
	return c
}

// bootstrapCommand founds the cluster: its id, a tenant and the signing key.
func (p *program) bootstrapCommand() fsm.Command {
	id, key, err := auth.NewBootstrapKey()
	if err != nil {
		p.fatal <- err
		return nil
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
		TenantId: uuid.NewString(), TenantName: "default", ClusterId: uuid.NewString(), KeyId: id, Key: key,
		Settings: &limpetv1.Settings{
			SoftPatience: int64(p.s.SoftPatience), DeliveryTimeout: int64(p.s.DeliveryTimeout), CancelChildren: p.s.CancelChildren,
			RetentionAge: int64(p.s.MemoryAge), RetentionRuns: p.s.MemoryRuns, MaxLiveRuns: p.s.MaxLiveRuns, MaxLiveBytes: p.s.MaxLiveBytes,
		},
	}}}
}

// run serves until the context ends, and then stops in the order that loses
// nothing: streams end with Unavailable, leadership moves, the log closes.
func (p *program) run(ctx context.Context) error {
	var lc net.ListenConfig
	grpcListener, err := lc.Listen(ctx, "tcp", p.s.GRPC)
	if err = portError("grpc", p.s.GRPC, err); err == nil {
		var httpListener net.Listener
		httpListener, err = lc.Listen(ctx, "tcp", p.s.HTTP)
		if err = portError("http", p.s.HTTP, err); err == nil {
			go func() { p.report(p.grpc.Serve(grpcListener)) }()
			go func() {
				if err := p.http.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
					p.report(err)
				}
			}()
			p.log.Info("listening", "grpc", p.s.GRPC, "http", p.s.HTTP, "peer", p.s.Peer, "gossip", p.s.Gossip)
			go gcpace.Run(ctx)
			go p.writeToken(ctx)
			go p.reloadKeys(ctx)
			select {
			case <-ctx.Done():
			case err = <-p.fatal:
			}
		}
	}
	if err != nil {
		p.log.Error("this node cannot go on", "error", err)
	}
	stopped := p.stop()
	if errors.Is(err, cluster.ErrDisk) {
		return &exitError{code: exitDisk, err: err}
	}
	return errors.Join(err, stopped)
}

// portError names the setting whose port cannot be had.
func portError(setting, addr string, err error) error {
	if err == nil {
		return nil
	}
	next := "give an address of this machine"
	if errors.Is(err, syscall.EADDRINUSE) {
		next = "stop what has the port, or give another"
	}
	return fmt.Errorf("--%s is %q: %w; %s", setting, addr, err, next)
}

func (p *program) report(err error) {
	if err != nil {
		p.fatal <- err
	}
}

func (p *program) stop() error {
	p.log.Info("stopping; a second signal stops at once")
	second := make(chan os.Signal, 1)
	signal.Notify(second, os.Interrupt, syscall.SIGTERM)
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-second:
			os.Exit(exitFailure)
		case <-ctx.Done():
		}
	}()
	const calls = 3 * time.Second
	short, done := context.WithTimeout(ctx, calls)
	defer done()
	p.grpc.Stop(short)
	err := p.hub.Close(short)
	if !errors.Is(err, context.DeadlineExceeded) && err != nil {
		p.log.Warn("some sessions could not be signed off", "error", err)
	}
	return errors.Join(p.http.Shutdown(short), p.closeNode(ctx))
}

// closeNode waits no longer than ctx: a node whose disk hangs may never close.
func (p *program) closeNode(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- p.node.Close(ctx) }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return errors.New("the node did not stop in time")
	}
}

// writeToken leaves an admin's token in the data directory once the cluster is
// formed: who can read it there is root of the node anyway.
func (p *program) writeToken(ctx context.Context) {
	if p.s.DataDir == "" {
		return
	}
	const pollEvery = 20 * time.Millisecond
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for p.node.View().ClusterID() == "" {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	if err := p.issueAdminToken(); err != nil {
		p.log.Error("the admin token could not be written", "error", err)
	}
}

func (p *program) issueAdminToken() error {
	v := p.node.View()
	for t := range v.Tenants() {
		const year = 365 * 24 * time.Hour
		token, err := auth.Issue(v, auth.Grant{
			Tenant: t.ID, Role: auth.RoleAdmin, ServerURL: p.s.ServerURL, GRPCAddress: p.s.Broadcast, Issued: p.wall(), TTL: year,
		})
		if err != nil {
			return err
		}
		file := filepath.Join(p.s.DataDir, "admin.token")
		tmp := file + ".new"
		if err := os.WriteFile(tmp, []byte(token+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the admin token: %w", err)
		}
		if err := os.Rename(tmp, file); err != nil {
			return fmt.Errorf("write the admin token: %w", err)
		}
		return nil
	}
	return errors.New("the cluster has no tenant")
}
