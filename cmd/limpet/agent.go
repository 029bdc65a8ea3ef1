package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/client/agent"
)

func newAgent(c *client) *cobra.Command {
	cfg := agent.Config{}
	var state, restart, level string
	cmd := &cobra.Command{
		Use: "agent [flags] -- CMD [ARG...]", Short: "Run a worker program of any SDK, with a stable identity",
		Long: `Run a worker program of any SDK, unchanged, beside a local agent.

The program connects to the agent (HATCHET_CLIENT_HOST_PORT and the like are set for it), which keeps its streams
open while nodes come and go. A program that is started again is the same worker: its HARD runs go on there. Its end
is known to the cluster at once. SIGTERM lets it finish what it holds, for --drain-timeout at most, and then stops it;
a second one stops it at once.`,
		Example: "  limpet agent --data-dir /srv/gpu-1 --identity gpu-1 -- npm run worker",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if cfg.Addrs, err = c.target(); err != nil {
				return err
			}
			if cfg.Token, err = c.credentials(); err != nil {
				return err
			}
			if len(args) > 0 { // before anything is registered or written
				if _, err := exec.LookPath(args[0]); err != nil {
					return &exitError{code: exitUsage, err: fmt.Errorf("CMD is %q: must be a program that can be run: %w", args[0], err)}
				}
			}
			var least slog.Level
			if err := least.UnmarshalText([]byte(level)); err != nil {
				return &exitError{code: exitUsage, err: fmt.Errorf("--log-level is %q: must be debug, info, warn or error", level)}
			}
			cfg.Command, cfg.State, cfg.Restart = args, agent.State(state), agent.Restart(restart)
			cfg.Version, cfg.Logger = version(), slog.New(slog.NewTextHandler(c.io.err, &slog.HandlerOptions{Level: least}))
			cfg.Stdin, cfg.Stdout, cfg.Stderr = os.Stdin, c.io.out, c.io.err
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
			defer signal.Stop(signals)
			cfg.Signals = signals
			code, err := agent.Run(context.WithoutCancel(cmd.Context()), cfg)
			switch {
			case err != nil:
				return &exitError{code: exitUsage, err: err}
			case code != 0:
				return &exitError{code: code, err: fmt.Errorf("the program ended with status %d", code)}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", agentDir(), "directory that stays with the worker's state; one per agent")
	f.StringVar(&cfg.Identity, "identity", "", "name of the place, the same at every start (default: one that is made and kept in the data directory)")
	f.StringVar(&state, "state", string(agent.StateDisk), "disk: a program that is started again finds its state; memory: it does not, and is another place")
	f.StringVar(&restart, "restart", string(agent.RestartOnFailure), "always, on-failure or never")
	f.DurationVar(&cfg.RestartMax, "restart-max", agent.DefaultRestartMax, "longest pause before a restart; the first is 0.5s, each twice the one before")
	f.DurationVar(&cfg.DrainTimeout, "drain-timeout", agent.DefaultDrainTimeout, "how long a stop waits for the worker's tasks")
	f.DurationVar(&cfg.StopTimeout, "stop-timeout", agent.DefaultStopTimeout, "how long the program then has to end before it is killed")
	f.StringVar(&cfg.Listen, "listen", agent.DefaultListen, "host:port for the program")
	f.StringVar(&cfg.GossipBind, "gossip", "", "host:port to gossip on (default: the address that reaches the nodes, any port)")
	f.StringVar(&cfg.GossipAdvertise, "advertise-gossip", "", "host:port of --gossip as others reach it")
	f.BoolVar(&cfg.NoGossip, "no-gossip", false, "do not gossip")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// agentDir is where an agent keeps who it is when nothing else is said.
func agentDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/limpet-agent"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "limpet-agent")
}
