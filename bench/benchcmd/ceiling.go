package benchcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench"
	"github.com/limpet-dev/limpet/bench/ceiling"
)

// newStub is the process that `bench ceiling` measures. It ends when its
// standard input does.
func newStub() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "stub", Short: "Serve the wire and do nothing", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			return ceiling.Serve(ctx, cmd.OutOrStdout(), dir)
		},
	}
	cmd.Flags().StringVar(&dir, "log-dir", "", "commit each call to a replicated log with its files there")
	return cmd
}

// newCeiling measures what the machine could do at most.
func (c *command) newCeiling() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ceiling", Short: "What this machine could do at most: a stub on the wire, and a bare replicated log", Args: cobra.NoArgs,
		Long: "Measures three things on this machine: a server that answers the calls and streams\nof one-task runs and does nothing, the same with three raft nodes that commit each\ntrigger and completion to synced logs before it is answered (runs_per_second), and\nthese logs alone (commands_per_second).",
	}
	options := closedFlags(cmd, 256, "none")
	batch := cmd.Flags().Int("batch", 1, "runs of one call")
	size := cmd.Flags().Int("command", 256, "bytes of one command of the log alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		defer c.bar.clear()
		options(&c.opts)
		if err := c.check(); err != nil {
			return c.usage(err)
		}
		const largest = 1 << 20
		if *size < 1 || *size > largest {
			return c.env.Usage(&bench.OptionError{Option: "command", Got: strconv.Itoa(*size), Want: fmt.Sprintf("1 to %d bytes", largest)})
		}
		if err := onDisk(c.dir); err != nil {
			return c.usage(err)
		}
		r, err := c.ceiling(cmd.Context(), *batch, *size)
		if err != nil {
			return c.usage(err)
		}
		return c.show(r)
	}
	return cmd
}

func (c *command) ceiling(ctx context.Context, batch, size int) (*bench.Result, error) {
	measure := measurement{run: func(ctx context.Context, o *bench.Options, _ bench.Cluster) (*bench.Result, error) {
		if batch == 1 {
			return bench.Throughput(ctx, o)
		}
		return bench.Bulk(ctx, o, batch)
	}}
	bare, err := c.stubbed(ctx, measure, "")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.dir, ".limpet-bench-stub-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := c.stubbed(ctx, measure, dir)
	if err != nil {
		return nil, err
	}
	c.bar.set(0, "the log alone")
	log, err := ceiling.MeasureLog(ctx, c.dir, size, c.opts.Outstanding, c.opts.Duration)
	c.bar.clear()
	if err != nil {
		return nil, err
	}
	r.Workload, r.Target, r.Params["batch"], r.Params["command_bytes"] = "ceiling", "this machine", batch, size
	r.Extra = map[string]float64{
		"stub_runs_per_second": bare.RunsPerSecond, "stub_p50_ms": bare.P50,
		"stub_nodes_cpu_seconds_per_1000_runs": bare.NodesCPU, "stub_client_cpu_seconds_per_1000_runs": bare.ClientCPU,
		"log_entries_per_second": log.EntriesPerSecond,
	}
	r.CommandsPerSecond = log.CommandsPerSecond
	return r, nil
}

func (c *command) stubbed(ctx context.Context, measure measurement, dir string) (*bench.Result, error) {
	t, err := openStub(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	return c.measureOpen(ctx, measure, t)
}
