package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// crew is a process of workers, at a host of its own.
type crew struct {
	name   string
	host   string
	count  int
	agent  bool // the program runs beside one
	stable bool // its workers keep their identities
	words  []string
	env    []string

	mu      sync.Mutex
	process *process
}

// The shape of the crowd: how many processes share the workers, how many of them
// run under an agent, with one worker each, and what every worker has.
const (
	crews       = 10
	agents      = 2
	workerSlots = 8
	// fewSlots is what they have under faults of chance, so that workers are full
	// now and then.
	fewSlots = 2
)

// addCrews prepares the processes of workers.
func (l *Lab) addCrews() error {
	left := l.cfg.Workers
	count := min(crews, left)
	for i := range count {
		c := &crew{name: "crew-" + strconv.Itoa(i+1), agent: i < agents && count > agents, stable: i != count-1 || count == 1}
		if c.agent {
			c.name, c.count = "agent-"+strconv.Itoa(i+1), 1
		} else {
			c.count = left / (count - i)
		}
		left -= c.count
		c.host = c.name
		if _, err := l.net.join(c.host); err != nil {
			return err
		}
		c.words = []string{
			l.cfg.Self, "lab", "worker", "--name", c.name, "--count", strconv.Itoa(c.count), "--slots", strconv.Itoa(l.slots()),
			"--evidence", l.evidence(), "--identities=" + strconv.FormatBool(c.stable),
		}
		if c.agent {
			c.words = append([]string{
				l.cfg.Bin, "agent", "--data-dir", filepath.Join(l.dir, c.name), "--identity", c.name, "--addr", strings.Join(l.addrs(), ","),
				"--token", l.token, "--restart", "always", "--",
			}, c.words...)
		}
		c.env = []string{"LIMPET_ADDR=" + strings.Join(l.addrs(), ","), "LIMPET_TOKEN=" + l.token, "HATCHET_CLIENT_TLS_STRATEGY=none"}
		l.crews = append(l.crews, c)
	}
	return nil
}

func (l *Lab) slots() int {
	if l.cfg.Scenario == "" {
		return fewSlots
	}
	return workerSlots
}

func (l *Lab) addrs() (out []string) {
	for _, n := range l.nodes {
		out = append(out, n.grpc)
	}
	return out
}

func (l *Lab) startCrew(c *crew) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process.running() {
		return nil
	}
	p, err := spawn(filepath.Join(l.dir, c.name+".log"), append(c.env, "LIMPET_LAB_SELF="+os.Args[0]), l.net.command(c.host, c.words...))
	if err != nil {
		return err
	}
	c.process = p
	l.history.Add(history.Event{Kind: history.WorkerAttach, Client: c.name, Detail: "started"})
	return nil
}

// stopCrew ends the process; with SIGTERM its workers drain first.
func (l *Lab) stopCrew(c *crew, s syscall.Signal) {
	c.mu.Lock()
	p := c.process
	c.mu.Unlock()
	if !p.running() {
		return
	}
	l.history.Add(history.Event{Kind: history.WorkerStop, Client: c.name, Detail: s.String()})
	p.signal(syscall.SIGCONT)
	p.signal(s)
	const patience = 25 * time.Second
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
}

func (c *crew) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process.running()
}

// freeze stops the process, and an agent's program with it.
func (l *Lab) freeze(c *crew) (thaw func()) {
	tell := func(s syscall.Signal, kind history.Kind) {
		c.mu.Lock()
		defer c.mu.Unlock()
		l.history.Add(history.Event{Kind: kind, Client: c.name})
		c.process.signal(s)
		if c.agent && c.process.running() {
			for _, pid := range childrenOf(c.process.cmd.Process.Pid) {
				_ = syscall.Kill(pid, s)
			}
		}
	}
	tell(syscall.SIGSTOP, history.WorkerFreeze)
	return func() { tell(syscall.SIGCONT, history.WorkerThaw) }
}

// childrenOf gives the processes that another has started.
func childrenOf(pid int) (out []int) {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, file := range threads {
		raw, _ := os.ReadFile(file)
		for word := range strings.FieldsSeq(string(raw)) {
			if n, err := strconv.Atoi(word); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
