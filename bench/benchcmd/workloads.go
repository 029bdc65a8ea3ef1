package benchcmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench"
)

// plain is a workload without flags of its own.
type plain func(context.Context, *bench.Options) (*bench.Result, error)

func (p plain) run(ctx context.Context, o *bench.Options, _ Cluster) (*bench.Result, error) {
	return p(ctx, o)
}

func (c *command) addWorkloads(root *cobra.Command) {
	root.AddCommand(
		c.workload("throughput", "One-task runs, triggered one by one, so many in flight", func(cmd *cobra.Command) measurement {
			return measurement{closedFlags(cmd, 64, "none"), plain(bench.Throughput).run}
		}),
		c.workload("bulk", "One-task runs, triggered many in one call", func(cmd *cobra.Command) measurement {
			batch := cmd.Flags().Int("batch", 100, "runs of one call")
			return measurement{closedFlags(cmd, 1000, "none"), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				return bench.Bulk(ctx, o, *batch)
			}).run}
		}),
		c.workload("dag", "Runs of two roots and a fan-in, all on one worker", func(cmd *cobra.Command) measurement {
			return measurement{closedFlags(cmd, 64, "soft"), plain(bench.DAG).run}
		}),
		c.newCeiling(), newStub(),
	)
}

// closedFlags are those of workloads that keep so many runs in flight.
func closedFlags(cmd *cobra.Command, outstanding int, sticky string) func(*bench.Options) {
	n := cmd.Flags().Int("outstanding", outstanding, "runs in flight at once")
	runs := cmd.Flags().Int("runs", 0, "measure so many runs, instead of --duration")
	s := cmd.Flags().String("sticky", sticky, "strategy of the workflow: none, soft or hard")
	return func(o *bench.Options) { o.Outstanding, o.Runs, o.Sticky = *n, *runs, *s }
}
