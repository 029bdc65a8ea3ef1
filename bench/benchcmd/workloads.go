package benchcmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench"
)

// plain is a workload without flags of its own.
type plain func(context.Context, *bench.Options) (*bench.Result, error)

func (p plain) run(ctx context.Context, o *bench.Options, _ bench.Cluster) (*bench.Result, error) {
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
		c.workload("latency", "One-task runs that arrive at a fixed rate; times are counted from when they were due", func(cmd *cobra.Command) measurement {
			rate := cmd.Flags().Float64("rate", 200, "runs a second")
			return measurement{openFlags(cmd), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				return bench.Latency(ctx, o, *rate)
			}).run}
		}),
		c.workload("fanout", "Parents that each spawn children on their own worker and wait for them", func(cmd *cobra.Command) measurement {
			children := cmd.Flags().Int("children", 20, "children of a parent")
			return measurement{closedFlags(cmd, 16, "soft"), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				return bench.Fanout(ctx, o, *children)
			}).run}
		}),
		c.workload("backlog", "A live load while HARD runs wait for workers that are gone", func(cmd *cobra.Command) measurement {
			p := &bench.BacklogPlan{}
			cmd.Flags().IntSliceVar(&p.Parked, "parked", []int{0, 10_000, 100_000}, "how many wait: measured once for each number; at a --target they stay until they are cancelled or time out")
			cmd.Flags().IntVar(&p.Absent, "absent", 100, "workers that they wait for")
			cmd.Flags().IntVar(&p.Turns, "turns", 0, "measure each number so often in turns with the first, on clusters of their own (needs --self-cluster)")
			return measurement{closedFlags(cmd, 64, "none"), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				p.Another = c.another()
				return bench.Backlog(ctx, o, *p)
			}).run}
		}),
		c.workload("workers", "A live load with many workers attached", func(cmd *cobra.Command) measurement {
			counts := cmd.Flags().IntSlice("counts", []int{10, 1000}, "how many: measured once for each number")
			return measurement{closedFlags(cmd, 64, "none"), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				return bench.Workers(ctx, o, *counts)
			}).run}
		}),
	)
	c.addTroubles(root)
	root.AddCommand(c.newCeiling(), newStub(), c.newReport(), c.newPlot())
}

// addTroubles adds the workloads under which something goes wrong.
func (c *command) addTroubles(root *cobra.Command) {
	root.AddCommand(
		c.workload("failover", "Kill the leader of an own cluster again and again under load", func(cmd *cobra.Command) measurement {
			p := &bench.FailoverPlan{}
			cmd.Flags().IntVar(&p.Kills, "kills", 5, "how often")
			cmd.Flags().Float64Var(&p.Rate, "rate", 200, "runs a second")
			cmd.Flags().DurationVar(&p.Down, "down", 2*time.Second, "from a kill until the node is started again")
			cmd.Flags().DurationVar(&p.Settle, "settle", 3*time.Second, "from then until the next kill")
			return measurement{openFlags(cmd), func(ctx context.Context, o *bench.Options, n bench.Cluster) (*bench.Result, error) {
				return bench.Failover(ctx, o, n, *p)
			}}
		}),
		c.workload("overload", "Ask for more than the target can do", func(cmd *cobra.Command) measurement {
			p := &bench.OverloadPlan{}
			cmd.Flags().Float64Var(&p.Factor, "factor", 3, "how much more")
			cmd.Flags().Float64Var(&p.Rate, "rate", 0, "runs a second that it can do; 0 measures that first, with --outstanding")
			return measurement{closedFlags(cmd, 256, "none"), plain(func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
				return bench.Overload(ctx, o, *p)
			}).run}
		}),
	)
}

// openFlags are those of workloads at a fixed rate.
func openFlags(cmd *cobra.Command) func(*bench.Options) {
	s := cmd.Flags().String("sticky", "none", "strategy of the workflow: none, soft or hard")
	return func(o *bench.Options) { o.Outstanding, o.Sticky = 256, *s }
}

// closedFlags are those of workloads that keep so many runs in flight.
func closedFlags(cmd *cobra.Command, outstanding int, sticky string) func(*bench.Options) {
	n := cmd.Flags().Int("outstanding", outstanding, "runs in flight at once")
	runs := cmd.Flags().Int("runs", 0, "measure so many runs, instead of --duration")
	s := cmd.Flags().String("sticky", sticky, "strategy of the workflow: none, soft or hard")
	return func(o *bench.Options) { o.Outstanding, o.Runs, o.Sticky = *n, *runs, *s }
}
