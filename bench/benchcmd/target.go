package benchcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/bench"
)

const (
	self = "self"
	stub = "stub"
	// defaultNodes is the size of a cluster that is started for a measurement.
	defaultNodes = 3
)

// target is a server under test, and what to do with it at the end.
type target struct {
	bench.Target
	cluster bench.Cluster // nil if it is not ours
	close   func()
}

// open finds or starts what a text names.
func (c *command) open(ctx context.Context, spec string, token func() (string, error)) (*target, error) {
	if program, ok := ownProgram(spec); ok {
		return c.openSelf(ctx, program)
	}
	if spec == stub {
		return openStub(ctx, "")
	}
	t := &target{close: func() {}}
	if spec == "" {
		addrs, err := c.env.Addrs()
		if err != nil {
			return nil, err
		}
		t.Addrs = addrs
	}
	for a := range strings.SplitSeq(strings.TrimPrefix(spec, "ipv4:"), ",") {
		if a = strings.TrimSpace(a); spec != "" && !strings.Contains(a, ":") {
			return nil, &bench.OptionError{Option: "target", Got: spec, Want: "host:port, several with commas, self, self:PROGRAM or stub"}
		} else if spec != "" {
			t.Addrs = append(t.Addrs, a)
		}
	}
	var err error
	if t.Token, err = token(); err != nil {
		return nil, err
	}
	t.Name, t.PIDs = strings.Join(t.Addrs, ","), c.pids
	return t, nil
}

func (c *command) openSelf(ctx context.Context, program string) (*target, error) {
	n := c.nodes
	if n == 0 {
		n = defaultNodes
	}
	if err := onDisk(c.dir); err != nil {
		return nil, err
	}
	c.bar.set(0, "starting the nodes")
	cluster, err := c.env.StartCluster(ctx, program, c.dir, n)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("self-cluster of %d", n)
	if program != "" {
		name += " with " + program
	}
	return &target{
		Target:  bench.Target{Name: name, Addrs: cluster.Addrs(), Token: cluster.Token(), PIDs: cluster.PIDs()},
		cluster: cluster, close: cluster.Close,
	}, nil
}

// another brings up one more cluster like the one that is measured. Nil if that is
// not ours.
func (c *command) another() func(context.Context) (bench.Target, func(), error) {
	spec, err := c.spec()
	program, own := ownProgram(spec)
	if err != nil || !own || c.compare != "" {
		return nil
	}
	return func(ctx context.Context) (bench.Target, func(), error) {
		t, err := c.openSelf(ctx, program)
		if err != nil {
			return bench.Target{}, nil, err
		}
		t.Gzip, t.Plain = c.opts.Target.Gzip, c.opts.Target.Plain
		return t.Target, t.close, nil
	}
}

// ownProgram tells whether a text names a new cluster on this machine, and with which
// program; "" is this one.
func ownProgram(spec string) (string, bool) {
	if spec == self {
		return "", true
	}
	return strings.CutPrefix(spec, self+":")
}

// openStub starts this program as a stub; with a directory, as one that commits
// to a log there.
func openStub(ctx context.Context, dir string) (*target, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, "bench", "stub", "--log-dir", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	const patience = 5 * time.Second
	cmd.WaitDelay = patience
	cmd.Stderr = os.Stderr
	// The stub ends when its standard input does, so also when this process dies.
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	stop := func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, errors.Join(errors.New("the stub did not start"), err)
	}
	return &target{Target: bench.Target{Name: stub, Addrs: []string{strings.TrimSpace(line)}, PIDs: []int{cmd.Process.Pid}}, close: stop}, nil
}
