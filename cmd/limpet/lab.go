package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/faults/lab"
)

func newLab(io stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lab", Short: "Break a cluster of this build, and see what it keeps",
		Long: "Break a cluster of this build: real nodes and workers are killed, frozen, cut off and starved, and what they\nand their clients wrote down is judged. As root every process gets a network of its own; else all are on\nloopback, and the faults that are left out are named.",
	}
	cmd.AddCommand(newLabRun(io), newLabList(io), newLabWorker())
	return cmd
}

func newLabRun(io stdio) *cobra.Command {
	cfg := lab.Config{Log: io.out}
	var random bool
	cmd := &cobra.Command{
		Use: "run (--scenario NAME | --random)", Short: "Run one scenario, or faults of chance", Args: cobra.NoArgs,
		Example: "  limpet lab run --random --seed 7 --duration 5m\n  limpet lab run --scenario leader-with-its-workers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if random == (cfg.Scenario != "") {
				return &exitError{code: exitUsage, err: errors.New("give either --scenario or --random")}
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			cfg.Self = self
			if cfg.Bin == "" {
				cfg.Bin = self
			}
			if cfg.Bin, err = filepath.Abs(cfg.Bin); err != nil {
				return &exitError{code: exitUsage, err: fmt.Errorf("--bin: %w", err)}
			}
			if err := cfg.Validate(); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			report, err := lab.Run(cmd.Context(), cfg)
			switch {
			case err != nil:
				return err
			case report != nil && !report.OK():
				return errors.New("something was violated")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Scenario, "scenario", "", "`NAME` of a scenario: \"limpet lab list\" has them")
	f.BoolVar(&random, "random", false, "faults of chance")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of chance: the same seed makes the same faults, at about the same times")
	f.DurationVar(&cfg.Duration, "duration", 5*time.Minute, "how long faults of chance go on")
	f.IntVar(&cfg.Nodes, "nodes", 3, "nodes: 3 or 5")
	f.IntVar(&cfg.Workers, "workers", 50, "workers, in ten processes")
	f.IntVar(&cfg.Clients, "clients", 8, "clients that start runs")
	f.StringVar(&cfg.Dir, "dir", filepath.Join(os.TempDir(), "limpet-lab"), "directory for logs, evidence and the history; what a run before left there is removed")
	f.StringVar(&cfg.Out, "out", "", "where the report goes, without .json and .html (default: report in the directory)")
	f.StringVar(&cfg.Bin, "bin", "", "program of the nodes and agents (default: this one)")
	f.BoolVar(&cfg.Loopback, "loopback", false, "no networks of their own, even as root")
	f.DurationVar(&cfg.RaftTimeout, "raft-timeout", 300*time.Millisecond, "of the nodes")
	return cmd
}

func newLabList(io stdio) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scenarios", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, s := range lab.Scenarios() {
				if _, err := fmt.Fprintf(io.out, "%-28s %s\n", s.Name, s.About); err != nil {
					return fmt.Errorf("write: %w", err)
				}
			}
			return nil
		},
	}
}

// newLabWorker is the program of the lab's workers.
func newLabWorker() *cobra.Command {
	var cfg lab.WorkerConfig
	cmd := &cobra.Command{
		Use: "worker", Hidden: true, Args: cobra.NoArgs, Short: "Workers of the lab",
		RunE: func(cmd *cobra.Command, _ []string) error { return lab.WorkerMain(cmd.Context(), cfg) },
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Name, "name", "", "name of the process")
	f.IntVar(&cfg.Count, "count", 1, "workers")
	f.IntVar(&cfg.Slots, "slots", 8, "slots of each")
	f.StringVar(&cfg.Evidence, "evidence", "", "directory of what it writes down")
	f.BoolVar(&cfg.Identities, "identities", true, "each worker is the one of its name again")
	return cmd
}
