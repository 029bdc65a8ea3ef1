package agent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// Restart says when a program that has ended is started again.
type Restart string

// The policies.
const (
	RestartAlways    Restart = "always"
	RestartOnFailure Restart = "on-failure"
	RestartNever     Restart = "never"
)

// State says what of a worker's state outlives its program.
type State string

// The kinds of state.
const (
	// StateDisk: the state lies beside the agent's data directory, and a restarted
	// program finds it again.
	StateDisk State = "disk"
	// StateMemory: the state is gone with the program. A restarted one is another
	// place.
	StateMemory State = "memory"
)

// Config is what an agent is made of. The zero values of durations, Restart and
// State stand for the defaults of [DefaultConfig].
type Config struct {
	// Command is the program and its arguments.
	Command []string
	// Addrs are host:port of nodes; the others are learnt.
	Addrs []string
	// Token is the API token; the program gets it too.
	Token string
	// DataDir keeps the identity. One agent at a time may use it.
	DataDir string
	// Identity names the place; empty for one that is made at the first start and
	// kept in DataDir.
	Identity string
	State    State
	Restart  Restart
	// RestartMax is the longest pause before a restart; the first is half a second,
	// and each is twice the one before.
	RestartMax time.Duration
	// DrainTimeout bounds how long a stop waits for the worker's tasks, and
	// StopTimeout how long the program then has to end.
	DrainTimeout, StopTimeout time.Duration
	// Listen is the local host:port for the program; port 0 picks one.
	Listen string
	// GossipBind and GossipAdvertise are as in the Go SDK; NoGossip leaves gossip
	// out.
	GossipBind, GossipAdvertise string
	NoGossip                    bool
	Version                     string
	Logger                      *slog.Logger
	Stdin                       io.Reader
	Stdout, Stderr              io.Writer
	// Signals ends the agent: the first value drains and stops, the second stops
	// the program at once. May be nil.
	Signals <-chan os.Signal
}

// The defaults.
const (
	DefaultDrainTimeout = 30 * time.Second
	DefaultStopTimeout  = 10 * time.Second
	DefaultRestartMax   = 30 * time.Second
	DefaultListen       = "127.0.0.1:0"
)

// complete fills in defaults and names the first setting that cannot be used.
func (c *Config) complete() error {
	if c.State == "" {
		c.State = StateDisk
	}
	if c.Restart == "" {
		c.Restart = RestartOnFailure
	}
	if c.RestartMax == 0 {
		c.RestartMax = DefaultRestartMax
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case len(c.Command) == 0:
		return errors.New("no program is named: `limpet agent [flags] -- CMD ARGS...`")
	case c.Token == "":
		return errors.New("no token is given: `limpet token create` makes one")
	case c.DataDir == "":
		return errors.New("data-dir is empty: name a directory that stays with the worker's state")
	case c.State != StateDisk && c.State != StateMemory:
		return fmt.Errorf("state is %q: must be disk or memory", c.State)
	case c.Restart != RestartAlways && c.Restart != RestartOnFailure && c.Restart != RestartNever:
		return fmt.Errorf("restart is %q: must be always, on-failure or never", c.Restart)
	case c.DrainTimeout < 0:
		return fmt.Errorf("drain-timeout is %v: must not be negative", c.DrainTimeout)
	case c.RestartMax < 0:
		return fmt.Errorf("restart-max is %v: must not be negative", c.RestartMax)
	case c.StopTimeout < 0:
		return fmt.Errorf("stop-timeout is %v: must not be negative", c.StopTimeout)
	case c.Identity != strings.TrimSpace(c.Identity):
		return fmt.Errorf("identity is %q: must not begin or end with space", c.Identity)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen is %q: must be host:port", c.Listen)
	}
	return nil
}
