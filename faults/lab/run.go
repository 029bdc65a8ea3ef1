package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// Config says what is done to whom.
type Config struct {
	// Scenario is a name of [Scenarios]; empty for faults of chance.
	Scenario string
	// Seed makes the faults of chance, Duration is how long they go on.
	Seed     uint64
	Duration time.Duration
	Nodes    int
	Workers  int
	Clients  int
	// Dir is where logs, evidence and history go. What is there is removed.
	Dir string
	// Out is where the report goes: Out.json and Out.html.
	Out string
	// Bin is the program under test: nodes and agents. Self is this program, which
	// is run for workers.
	Bin, Self string
	// Loopback leaves namespaces out although they could be made.
	Loopback    bool
	RaftTimeout time.Duration
	// Log receives what happens, a line each.
	Log io.Writer
}

// insideVariable is set in the process that runs in namespaces of its own.
const insideVariable = "LIMPET_LAB_INSIDE"

// Validate names the first setting that cannot be used, and what is allowed.
func (c *Config) Validate() error {
	switch {
	case c.Scenario != "" && !slices.ContainsFunc(Scenarios(), func(s Scenario) bool { return s.Name == c.Scenario }):
		return fmt.Errorf("--scenario is %q: `limpet lab list` names those there are", c.Scenario)
	case c.Nodes != 3 && c.Nodes != 5:
		return fmt.Errorf("--nodes is %d: must be 3 or 5", c.Nodes)
	case c.Workers < 1 || c.Workers > 500:
		return fmt.Errorf("--workers is %d: must be 1 to 500", c.Workers)
	case c.Clients < 1 || c.Clients > 100:
		return fmt.Errorf("--clients is %d: must be 1 to 100", c.Clients)
	case c.Duration < time.Second:
		return fmt.Errorf("--duration is %s: must be 1s or more", c.Duration)
	case c.Dir == "":
		return errors.New("--dir is empty: must name a directory for logs and evidence")
	}
	if _, err := exec.LookPath(c.Bin); c.Bin != "" && err != nil {
		return fmt.Errorf("--bin is %q: must be a program that can be run: %w", c.Bin, err)
	}
	return nil
}

// Lab is one cluster, its workers and clients, and what is known of them.
type Lab struct {
	cfg     Config
	dir     string
	net     network
	wires   *wires // nil on loopback
	nodes   []*node
	crews   []*crew
	token   string
	history *history.Recorder
	load    *load
	nemesis *nemesis // nil in named scenarios

	faultCount atomic.Int64
	lateness   func() Lateness // ends the watch over the machine
	leftOut    []string
	favourite  string // a worker that many runs are wanted at

	sayMu sync.Mutex
}

// Run makes the run that cfg asks for, and gives its report. In a process that
// may make namespaces it does so in a child that has its own.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	why := separate()
	if cfg.Loopback {
		why = errors.New("--loopback says so")
	}
	inside := os.Getenv(insideVariable) != ""
	if why == nil && !inside {
		return nil, again(ctx)
	}
	if inside {
		if err := enter(); err != nil {
			return nil, err
		}
	}
	l := &Lab{cfg: cfg}
	if err := l.prepare(why); err != nil {
		return nil, err
	}
	defer l.close()
	return l.run(ctx)
}

// sentinel is an error that is compared with.
type sentinel string

func (s sentinel) Error() string { return string(s) }

// ErrInside is the failure of the run in the child, which has said why.
const ErrInside = sentinel("the run in its own namespaces failed")

// again runs this command line in namespaces of its own.
func again(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	// The child is told to end with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...) //nolint:gosec // this program
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = insideAttr()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %w", ErrInside, err)
	}
	return nil
}

// prepare makes the directories and the network.
func (l *Lab) prepare(alone error) error {
	dir, err := filepath.Abs(l.cfg.Dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	l.dir = dir
	for _, sub := range []string{"nodes", "journal", "evidence"} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
	}
	old, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, f := range old {
		_ = os.Remove(f)
	}
	l.history = history.NewRecorder(nil)
	if alone != nil {
		l.net = loopback{}
		for _, k := range l.faultKinds() {
			if k.wired {
				l.leftOut = append(l.leftOut, k.name)
			}
		}
		l.say("all processes are on 127.0.0.1, because namespaces of their own are not to be had: %v. Left out: %s", alone, strings.Join(l.leftOut, ", "))
		return nil
	}
	l.wires = newWires(l.cfg.Seed)
	l.net, err = newEthernet(l.wires)
	return err
}

func (l *Lab) journals() string { return filepath.Join(l.dir, "journal") }
func (l *Lab) evidence() string { return filepath.Join(l.dir, "evidence") }

func (l *Lab) say(format string, args ...any) {
	l.sayMu.Lock()
	defer l.sayMu.Unlock()
	_, _ = fmt.Fprintf(l.cfg.Log, "%8.1fs  %s\n", l.history.Since(time.Now()).Seconds(), fmt.Sprintf(format, args...))
}

// run starts everything, lets the scenario or chance do its worst, heals, waits
// and judges.
func (l *Lab) run(ctx context.Context) (*Report, error) {
	scenario := l.scenario()
	if scenario.wired && l.wires == nil {
		return nil, fmt.Errorf("scenario %q %w: %w", scenario.Name, ErrLeftOut, separate())
	}
	if scenario.Workers > 0 {
		l.cfg.Workers = scenario.Workers
	}
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	l.say("%d nodes, %d workers in %d processes", len(l.nodes), l.cfg.Workers, len(l.crews))
	play, cancel := context.WithCancel(ctx)
	defer cancel()
	if !scenario.quiet {
		if err := l.startLoad(play, l.cfg.Clients); err != nil {
			return nil, err
		}
	} else {
		l.load = &load{lab: l, stop: func() {}}
	}
	defer l.load.close()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	seen := watchLateness(watch)
	l.lateness = func() Lateness {
		unwatch()
		return <-seen
	}
	broken := scenario.play(play, l)
	if broken != nil {
		l.say("the scenario did not go as it must: %v", broken)
	}
	l.heal(ctx)
	return l.judge(ctx, scenario, broken)
}

// ErrLeftOut is why a scenario is not run.
const ErrLeftOut = sentinel("needs namespaces")

func (l *Lab) scenario() Scenario {
	for _, s := range Scenarios() {
		if s.Name == l.cfg.Scenario {
			return s
		}
	}
	return Scenario{Name: "random", play: func(ctx context.Context, l *Lab) error {
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Duration)
		defer cancel()
		l.unleash(ctx)
		return nil
	}}
}

func (l *Lab) start(ctx context.Context) error {
	if err := l.addNodes(); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := l.startNode(n); err != nil {
			return err
		}
	}
	if err := l.awaitCluster(ctx); err != nil {
		return err
	}
	if err := l.addCrews(); err != nil {
		return err
	}
	for _, c := range l.crews {
		if err := l.startCrew(c); err != nil {
			return err
		}
	}
	const patience = 90 * time.Second
	return until(ctx, patience, "the workers to be live", func() bool {
		all, err := l.workers(ctx)
		live := 0
		for _, w := range all {
			if w.GetLease() == "live" {
				live++
				l.favourite = w.GetId()
			}
		}
		return err == nil && live >= l.cfg.Workers
	})
}

// heal starts what is down. The faults themselves were undone by who made them.
func (l *Lab) heal(ctx context.Context) {
	for _, n := range l.nodes {
		l.mustStart(n)
	}
	for _, c := range l.crews {
		if err := l.startCrew(c); err != nil {
			l.say("%s does not start: %v", c.name, err)
		}
	}
	l.history.Add(history.Event{Kind: history.Healed})
	for _, n := range l.nodes {
		if err := l.awaitNode(ctx, n); err != nil {
			l.say("%v", err)
		}
	}
	const calm = 3 * time.Second // with load, and no fault
	_ = sleep(ctx, calm)
	l.load.pause()
	l.say("healed; waiting for all runs to end")
}

// close ends all that was started.
func (l *Lab) close() {
	for _, c := range l.crews {
		c.mu.Lock()
		if c.agent && c.process.running() {
			for _, pid := range childrenOf(c.process.cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		c.process.kill()
		c.mu.Unlock()
	}
	for _, n := range l.nodes {
		n.signal(syscall.SIGKILL)
		_ = n.conn.Close()
	}
	l.net.close()
}

// Namespaces says whether this process may give hosts networks of their own; if
// not, why.
func Namespaces() error { return separate() }
