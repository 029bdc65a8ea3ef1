package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	limpet "github.com/limpet-dev/limpet/client"
)

const nodes = 3

// lab is one cluster, its workers and what they wrote down.
type lab struct {
	options

	dir  string
	base int

	token    string
	client   *limpet.Client
	conns    []*grpc.ClientConn // by node
	evidence *evidence
	flows    flows

	mu    sync.Mutex
	procs []*proc
}

// proc is a process that the lab started.
type proc struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // once done is closed
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// signal tells the process; one that has ended is not an error.
func (p *proc) signal(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends the process at once, and waits for that.
func (p *proc) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// spawn starts a process whose output goes to a file.
func (l *lab) spawn(log string, env []string, name string, args ...string) (*proc, error) {
	f, err := os.OpenFile(filepath.Join(l.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = f, f, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &proc{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	l.mu.Lock()
	l.procs = append(l.procs, p)
	l.mu.Unlock()
	return p, nil
}

// start makes a cluster of three nodes and a client of it.
func (l *lab) start(ctx context.Context) error {
	bin, err := filepath.Abs(l.bin)
	if err != nil {
		return fmt.Errorf("--bin: %w", err)
	}
	l.bin = bin
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	if _, err := l.spawn("dev.log", nil, l.bin, "dev", "--nodes", strconv.Itoa(nodes), "--data-dir", l.data(), "--base-port", strconv.Itoa(l.base)); err != nil {
		return err
	}
	const patience = 30 * time.Second
	if err := until(ctx, patience, "the cluster to start", func() bool { return readLine(filepath.Join(l.data(), "env")) != "" }); err != nil {
		return err
	}
	l.token = readLine(filepath.Join(l.data(), "token"))
	for n := range nodes {
		conn, err := grpc.NewClient(l.addr(n), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
		if err != nil {
			return fmt.Errorf("connect to node %d: %w", n+1, err)
		}
		l.conns = append(l.conns, conn)
	}
	if l.client, err = limpet.New(limpet.WithToken(l.token), limpet.WithEndpoints(l.addrs()...), limpet.WithLogger(silent())); err != nil {
		return err
	}
	l.flows = declare(l.client, nil)
	l.evidence, err = watchEvidence(filepath.Join(l.dir, "evidence"))
	return err
}

const maxAnswer = 64 << 20

func (l *lab) data() string { return filepath.Join(l.dir, "cluster") }

const portsPerNode = 10

func (l *lab) addr(n int) string { return "127.0.0.1:" + strconv.Itoa(l.base+portsPerNode*n) }

func (l *lab) addrs() []string {
	var out []string
	for n := range nodes {
		out = append(out, l.addr(n))
	}
	return out
}

// close ends all that was started; the cluster goes last.
func (l *lab) close() {
	if l.client != nil {
		_ = l.client.Close()
	}
	if l.evidence != nil {
		l.evidence.close()
	}
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.mu.Lock()
	procs := l.procs
	l.mu.Unlock()
	for _, p := range slices.Backward(procs) {
		if p == procs[0] { // nodes that were started again are in groups of their own
			for n := range nodes {
				if pid := l.nodePid(n); pid > 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // what it started is in its group
		<-p.done
	}
}

// nodePid gives the process of a node, or 0 if it does not run.
func (l *lab) nodePid(n int) int {
	pid, err := strconv.Atoi(readLine(filepath.Join(l.data(), "node-"+strconv.Itoa(n+1)+".pid")))
	if err != nil {
		return 0
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || !strings.Contains(string(line), l.data()) {
		return 0
	}
	return pid
}

// stopNode sends a signal to a node and waits until it is gone.
func (l *lab) stopNode(ctx context.Context, n int, s syscall.Signal) error {
	pid := l.nodePid(n)
	if pid == 0 {
		return fmt.Errorf("node-%d does not run", n+1)
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("signal node-%d: %w", n+1, err)
	}
	const patience = 20 * time.Second
	return until(ctx, patience, "node-"+strconv.Itoa(n+1)+" to stop", func() bool { return l.nodePid(n) == 0 })
}

// launchNode starts a node again.
func (l *lab) launchNode(ctx context.Context, n int) error {
	out, err := exec.CommandContext(ctx, l.bin, "dev", "start-node", strconv.Itoa(n+1), "--data-dir", l.data()).CombinedOutput() //nolint:gosec // our own program
	if err != nil {
		return fmt.Errorf("start node-%d: %w: %s", n+1, err, out)
	}
	return nil
}

// launchNodes starts all nodes again, at once: one alone would wait for the others.
func (l *lab) launchNodes(ctx context.Context) error {
	failed := make([]error, nodes)
	var all sync.WaitGroup
	for n := range nodes {
		all.Go(func() { failed[n] = l.launchNode(ctx, n) })
	}
	all.Wait()
	return errors.Join(failed...)
}

// startNode starts a node again and waits until it is ready.
func (l *lab) startNode(ctx context.Context, n int) error {
	if err := l.launchNode(ctx, n); err != nil {
		return err
	}
	const patience = 30 * time.Second
	return until(ctx, patience, "node-"+strconv.Itoa(n+1)+" to be ready", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := l.adminAt(n).ListPins(l.asAdmin(ctx), &limpetv1.ListPinsRequest{Limit: 1})
		return err == nil
	})
}

func (l *lab) adminAt(n int) limpetv1.AdminClient { return limpetv1.NewAdminClient(l.conns[n]) }

func (l *lab) asAdmin(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+l.token)
}

// ask makes an operator's call to one node after the other until one answers.
func (l *lab) ask(ctx context.Context, call func(ctx context.Context, a limpetv1.AdminClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for n := 0; ; n++ {
		one, done := context.WithTimeout(l.asAdmin(ctx), 3*time.Second)
		err := call(one, l.adminAt(n%nodes))
		done()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(pollEvery)
	}
}

// leader gives the number of the leader's node.
func (l *lab) leader(ctx context.Context) (int, error) {
	leader := -1
	const patience = 30 * time.Second
	err := until(ctx, patience, "a leader", func() bool {
		for n := range nodes {
			one, done := context.WithTimeout(l.asAdmin(ctx), time.Second)
			st, err := l.adminAt(n).GetClusterStatus(one, &limpetv1.GetClusterStatusRequest{})
			done()
			if err != nil || st.GetLeader() == "" {
				continue
			}
			leader = int(st.GetLeader()[len(st.GetLeader())-1]-'0') - 1
			return l.nodePid(leader) != 0
		}
		return false
	})
	return leader, err
}

// workers gives the workers by id.
func (l *lab) workers(ctx context.Context) (map[string]*limpetv1.WorkerInfo, error) {
	out := map[string]*limpetv1.WorkerInfo{}
	err := l.ask(ctx, func(ctx context.Context, a limpetv1.AdminClient) error {
		res, err := a.ListWorkers(ctx, &limpetv1.ListWorkersRequest{})
		for _, w := range res.GetWorkers() {
			out[w.GetId()] = w
		}
		return err
	})
	return out, err
}

// live waits until the newest worker of a name holds its lease, and gives it.
func (l *lab) live(ctx context.Context, name string) (*limpetv1.WorkerInfo, error) {
	var found *limpetv1.WorkerInfo
	const patience = 60 * time.Second
	err := until(ctx, patience, "worker "+name+" to be live", func() bool {
		all, err := l.workers(ctx)
		if err != nil {
			return false
		}
		for _, w := range all {
			if w.GetName() == name && w.GetLease() == "live" && w.GetNode() != "" {
				found = w
				return true
			}
		}
		return false
	})
	return found, err
}

const pollEvery = 20 * time.Millisecond

// until waits for a condition.
func until(ctx context.Context, patience time.Duration, what string, is func() bool) error {
	limit := time.Now().Add(patience)
	for !is() {
		if time.Now().After(limit) {
			return fmt.Errorf("waited %s for %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted while waiting for " + what)
		case <-time.After(pollEvery):
		}
	}
	return nil
}

func readLine(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// freePorts gives the first of a block of ports of loopback that nobody uses now,
// at or after from.
func freePorts(ctx context.Context, from int) (int, error) {
	const step, tries = 1000, 7
	for base := from; base < from+step*tries; base += step {
		free := true
		for port := base; port < base+nodes*portsPerNode && free; port++ {
			var lc net.ListenConfig
			ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
			if free = err == nil; free {
				_ = ln.Close()
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d ports in a row are free at %d, nor %d times %d further on", nodes*portsPerNode, from, tries-1, step)
}
