package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/metadata"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// child is one node's process.
type child struct{ cmd *exec.Cmd }

// exit says how a node ended.
type exit struct {
	node int
	how  string
}

// start runs one node as a child that dies with this process.
func (d *devCluster) start(n int) error {
	cmd, err := d.spawn(n, true)
	if err != nil {
		return err
	}
	d.procs[n] = &child{cmd}
	go func() {
		d.exits <- exit{n, howEnded(cmd.Wait())}
	}()
	return nil
}

func howEnded(err error) string {
	if err == nil {
		return "exit 0"
	}
	return err.Error()
}

func (d *devCluster) spawn(n int, bound bool) (*exec.Cmd, error) {
	self, err := d.Program, error(nil)
	if self == "" {
		self, err = os.Executable()
	}
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir := filepath.Join(d.Dir, d.name(n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.name(n), err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", d.name(n), err)
	}
	defer func() { _ = log.Close() }()
	// No context: the node is stopped by signals, and may outlive this command.
	cmd := exec.CommandContext(context.Background(), self, d.args(n)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes(bound)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.name(n), err)
	}
	if err := os.WriteFile(d.pidFile(n), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("start %s: %w", d.name(n), err)
	}
	return cmd, nil
}

// startDevNode starts a node of a cluster that another process runs, and waits until
// it serves.
func startDevNode(ctx context.Context, std stdio, dir string, number int) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	d, err := loadDev(dir)
	if errors.Is(err, os.ErrNotExist) {
		return &exitError{code: exitNotFound, err: fmt.Errorf("%s holds no development cluster; give the --data-dir of `limpet dev`", dir)}
	} else if err != nil {
		return err
	}
	n := number - 1
	if n < 0 || n >= d.Nodes {
		return &exitError{code: exitUsage, err: fmt.Errorf("node is %d: this cluster has nodes 1 to %d", number, d.Nodes)}
	}
	if alive(d.pid(n)) {
		return &exitError{code: exitConflict, err: fmt.Errorf("%s runs already, as process %d", d.name(n), d.pid(n))}
	}
	cmd, err := d.spawn(n, false)
	if err != nil {
		return err
	}
	d.io = std
	_, _ = fmt.Fprintf(std.out, "started %s as process %d\n", d.name(n), cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return d.awaitNode(ctx, n, ended)
}

// awaitNode waits until a node serves, or for so long that it may be waiting for
// nodes that are down as well: then it gives the node's own words.
func (d *devCluster) awaitNode(ctx context.Context, n int, ended <-chan error) error {
	const patience, poll = 3 * time.Second, 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	why := "it does not answer"
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended while starting (%s); its log ends with:\n%s", d.name(n), howEnded(err), d.logTail(n))
		case <-ctx.Done(): // Ctrl-C too: the node goes on
			_, _ = fmt.Fprintf(d.io.out, "%s does not serve yet: %s; its log is %s\n", d.name(n), why, filepath.Join(d.Dir, d.name(n), "log"))
			return nil
		case <-tick.C:
			serves, text := d.readyz(ctx, n)
			if serves {
				return nil
			}
			if text != "" {
				why = text
			}
		}
	}
}

// readyz asks a node whether it serves; if not, why. Nothing if it does not answer.
func (d *devCluster) readyz(ctx context.Context, n int) (serves bool, why string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.addr(n, httpPort)+"/readyz", nil)
	if err != nil {
		return false, ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, ""
	}
	defer func() { _ = res.Body.Close() }()
	const most = 1 << 12
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return false, ""
	}
	return res.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

func (d *devCluster) pid(n int) int {
	pid, err := strconv.Atoi(readLine(d.pidFile(n)))
	if err != nil {
		return 0
	}
	return pid
}

// alive reports whether the process runs and is a limpet: the number in an old
// file may by now belong to somebody else.
func alive(pid int) bool {
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !haveProc()
	}
	return strings.Contains(string(cmdline), "server\x00--name\x00")
}

func haveProc() bool {
	_, err := os.Stat("/proc/self")
	return err == nil
}

func (d *devCluster) running() bool {
	for n := range d.Nodes {
		if alive(d.pid(n)) {
			return true
		}
	}
	return false
}

func (d *devCluster) signal(n int, s syscall.Signal) {
	if pid := d.pid(n); alive(pid) {
		_ = syscall.Kill(pid, s)
	}
}

// findPorts moves the block of ports to free ones, unless they are fixed.
func (d *devCluster) findPorts(fixed bool) error {
	const tries = 20
	for range tries {
		taken := d.takenPort()
		if taken == "" {
			return nil
		}
		if fixed {
			return fmt.Errorf("%s is taken by another process: stop it, or give another --base-port", taken)
		}
		d.Base += nextBlocks
	}
	return errors.New("no free block of ports was found: give a --base-port")
}

func (d *devCluster) takenPort() string {
	for n := range d.Nodes {
		for _, p := range []int{0, peerPort, gossipPort, httpPort} {
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", d.addr(n, p))
			if err != nil {
				return d.addr(n, p)
			}
			_ = l.Close()
		}
	}
	return ""
}

// ready is what a formed cluster has.
type ready struct{ token, leader string }

// awaitReady waits until every node answers and one leads.
func (d *devCluster) awaitReady(ctx context.Context) (ready, error) {
	const patience, poll = 60 * time.Second, 25 * time.Millisecond
	called := ctx
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case <-called.Done():
			return ready{}, context.Cause(called)
		case <-ctx.Done():
			return ready{}, fmt.Errorf("the cluster did not form; the nodes' logs are in %s/node-*/log", d.Dir)
		case e := <-d.exits:
			return ready{}, fmt.Errorf("%s ended while starting (%s); its log ends with:\n%s", d.name(e.node), e.how, d.logTail(e.node))
		case <-tick.C:
			if r, ok := d.tryReady(ctx); ok {
				return r, nil
			}
		}
	}
}

func (d *devCluster) tryReady(ctx context.Context) (ready, bool) {
	token := ""
	for n := range d.Nodes {
		if token = readLine(filepath.Join(d.Dir, d.name(n), "admin.token")); token == "" {
			return ready{}, false
		}
	}
	leader := ""
	for n := range d.Nodes {
		if leader = d.askLeader(ctx, n, token); leader == "" {
			return ready{}, false
		}
	}
	return ready{token, leader}, true
}

func (d *devCluster) askLeader(ctx context.Context, n int, token string) string {
	conn, err := dial([]string{d.addr(n, 0)})
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+token), patience)
	defer cancel()
	st, err := limpetv1.NewAdminClient(conn).GetClusterStatus(ctx, &limpetv1.GetClusterStatusRequest{})
	if err != nil {
		return ""
	}
	return st.GetLeader()
}

func (d *devCluster) logTail(n int) string {
	raw, err := os.ReadFile(filepath.Join(d.Dir, d.name(n), "log"))
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return string(raw[max(0, len(raw)-most):])
}
