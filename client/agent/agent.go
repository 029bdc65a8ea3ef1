package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/limpet-dev/limpet/client/internal/member"
	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const (
	// A restart waits so long, twice as long each time, up to the setting; for a
	// program that was up for steadyAfter it begins anew.
	restartMin  = 500 * time.Millisecond
	steadyAfter = time.Minute
)

// ErrFenced ends an agent whose place another process has taken, under another
// agent: two of one identity would take it from each other for ever.
var ErrFenced = errors.New("another process has taken this worker's place: stop one of the two, or give each an identity and a data directory of its own")

// Agent supervises one program.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	place  *place
	nodes  *nodes.Set
	member *member.Member
	proxy  *proxy
	env    []string
}

// Run runs an agent until its program has ended for good, and gives the exit code
// to end with. An error is about the agent: its program was not started, or could
// not be.
func Run(ctx context.Context, cfg Config) (code int, err error) {
	if err := cfg.complete(); err != nil {
		return 0, err
	}
	a := &Agent{cfg: cfg, log: cfg.Logger}
	if a.place, err = openPlace(cfg.DataDir, cfg.Identity); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.place.close()) }()
	if a.nodes, err = nodes.New(cfg.Addrs, dialOptions()...); err != nil {
		return 0, err
	}
	defer a.nodes.Close()
	a.member, err = member.Start(ctx, member.Config{
		Nodes: a.nodes, Token: cfg.Token, Bind: cfg.GossipBind, Advertise: cfg.GossipAdvertise, Disabled: cfg.NoGossip,
		Version: cfg.Version, Logger: cfg.Logger,
	})
	if err != nil {
		return 0, err
	}
	defer a.member.Close()
	a.proxy = newProxy(a.nodes, a.place, a.member.Name, cfg.Logger)
	stop, err := a.serve(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	a.buryLast(ctx)
	a.log.Info("agent started", "identity", a.place.identity, "endpoint", a.env[0], "nodes", a.nodes.Addrs(), "gossip", a.member.Name() != "")
	return a.supervise(ctx)
}

func dialOptions() []grpc.DialOption {
	const every, patience = 10 * time.Second, 3 * time.Second
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: every, Timeout: patience, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}
}

// serve opens the local ends, for gRPC and for HTTP, and makes the environment
// that leads a program there.
func (a *Agent) serve(ctx context.Context) (stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the program on %q: %w", a.cfg.Listen, err)
	}
	host, _, _ := net.SplitHostPort(ln.Addr().String())
	web, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the program on %q: %w", host, err), ln.Close())
	}
	server := a.proxy.server()
	rest := restServer(a.member, a.log)
	go func() { _ = server.Serve(ln) }() // ends with Stop
	go func() { _ = rest.Serve(web) }()  // ends with Close
	a.env = []string{
		"HATCHET_CLIENT_HOST_PORT=" + ln.Addr().String(),
		"HATCHET_CLIENT_TLS_STRATEGY=none",
		"HATCHET_CLIENT_TOKEN=" + a.cfg.Token,
		"HATCHET_CLIENT_SERVER_URL=http://" + web.Addr().String(),
		"HATCHET_CLIENT_API_URL=http://" + web.Addr().String(),
		"LIMPET_ADDR=" + ln.Addr().String(),
		"LIMPET_TOKEN=" + a.cfg.Token,
		"LIMPET_IDENTITY=" + a.place.identity,
		"LIMPET_AGENT=1",
	}
	return func() {
		server.Stop()
		_ = rest.Close()
	}, nil
}

// environment is that of the agent, but where the program connects.
func (a *Agent) environment() []string {
	ours := map[string]bool{}
	for _, e := range a.env {
		name, _, _ := strings.Cut(e, "=")
		ours[name] = true
	}
	var out []string
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !ours[name] {
			out = append(out, e)
		}
	}
	return append(out, a.env...)
}

// supervise starts the program, again and again as its restart policy says.
func (a *Agent) supervise(ctx context.Context) (int, error) {
	first := min(restartMin, a.cfg.RestartMax)
	wait := first
	for {
		started := time.Now()
		p, err := a.start()
		if err != nil {
			return 0, err
		}
		stopped := a.watch(ctx, p)
		a.log.Info("the program "+p.how, "pid", p.cmd.Process.Pid, "asked_to_stop", stopped)
		a.proxy.end()
		select {
		case <-a.proxy.fenced:
			return 0, ErrFenced
		default:
		}
		a.bury(ctx, "its program "+p.how)
		switch {
		case stopped:
			left, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := a.member.Leave(left); err != nil {
				a.log.Debug("leave gossip", "error", err)
			}
			if p.code == int(syscall.SIGTERM)+128 || p.code == int(syscall.SIGINT)+128 {
				return 0, nil // it was we who ended it
			}
			return p.code, nil
		case a.cfg.Restart == RestartNever, a.cfg.Restart == RestartOnFailure && p.code == 0:
			return p.code, nil
		}
		if time.Since(started) > steadyAfter {
			wait = first
		}
		a.log.Info("the program is started again", "in", wait)
		select {
		case <-ctx.Done():
			return p.code, nil
		case <-a.cfg.Signals:
			return p.code, nil
		case <-time.After(wait):
		}
		wait = min(a.cfg.RestartMax, 2*wait)
	}
}

// start begins a new life of the program.
func (a *Agent) start() (*process, error) {
	incarnation, generation := uuid.NewString(), a.place.generation
	if a.cfg.State == StateMemory {
		generation = uuid.NewString()
	}
	if err := a.place.begin(incarnation); err != nil {
		return nil, err
	}
	a.proxy.begin(incarnation, generation)
	p, err := spawn(&a.cfg, a.environment())
	if err != nil {
		return nil, err
	}
	a.log.Info("the program has started", "pid", p.cmd.Process.Pid, "incarnation", incarnation)
	return p, nil
}

// watch waits for the program's end. A signal, or the end of ctx, drains its
// workers and ends it; then it gives true.
func (a *Agent) watch(ctx context.Context, p *process) (stopped bool) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-p.ended:
			return false
		case <-a.proxy.fenced:
			a.log.Error("the program is stopped: a newer process has taken its place")
			p.stop(a.cfg.StopTimeout, a.cfg.Signals)
			return true
		case <-hup:
			_ = p.signal(syscall.SIGHUP)
		case <-ctx.Done():
			a.drain(context.WithoutCancel(ctx), p)
			p.stop(a.cfg.StopTimeout, a.cfg.Signals)
			return true
		case s := <-a.cfg.Signals:
			a.log.Info("stopping; a second signal stops at once", "signal", fmt.Sprint(s))
			a.drain(ctx, p)
			p.stop(a.cfg.StopTimeout, a.cfg.Signals)
			return true
		}
	}
}
