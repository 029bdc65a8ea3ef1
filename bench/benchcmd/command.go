package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench"
)

// Cluster is nodes on this machine that a measurement starts and stops.
type Cluster interface {
	bench.Cluster
	// Addrs are the gRPC addresses, by node.
	Addrs() []string
	Token() string
	// PIDs are the processes, by node.
	PIDs() []int
	// Close stops all and removes their data.
	Close()
}

// Env is what the command needs of the program that it is part of.
type Env struct {
	Out, Err io.Writer
	// JSON tells whether results are printed for programs. CheckOutput says what
	// is wrong if that cannot be told.
	JSON        func() bool
	CheckOutput func() error
	// Addrs and Token are the defaults of the program's other commands.
	Addrs func() ([]string, error)
	Token func() (string, error)
	// StartCluster runs nodes with a program, "" for this one, and data below a directory.
	StartCluster func(ctx context.Context, program, dir string, nodes int) (Cluster, error)
	// Usage marks an error as one of the command line; Explain one of a call.
	Usage   func(error) error
	Explain func(err error, addrs []string) error
}

// command is the state of one command line.
type command struct {
	env     Env
	opts    bench.Options
	target  string
	nodes   int
	dir     string
	pids    []int
	compare string
	tokenB  string
	rounds  int
	csv     string
	bar     *bar
}

// measurement is one workload with its own flags read.
type measurement struct {
	options func(o *bench.Options)
	run     func(ctx context.Context, o *bench.Options, c bench.Cluster) (*bench.Result, error)
}

// New makes the command.
func New(env Env) *cobra.Command {
	c := &command{env: env, bar: newBar(env.Err)}
	root := &cobra.Command{
		Use: "bench", Short: "Measure a cluster, or any server that speaks the SDKs' wire",
		Long: "Measure a cluster over the wire of the SDKs, with workers and callers in this process\nthat do no work of their own. --target measures any server that speaks this wire.",
	}
	f := root.PersistentFlags()
	f.StringVar(&c.target, "target", "", "host:port of a node, or several with commas; self, self:PROGRAM: a new cluster on this machine; stub: nothing but the wire")
	f.IntVar(&c.nodes, "self-cluster", 0, "start so many nodes (1, 3 or 5) on this machine, and stop them at the end")
	f.StringVar(&c.dir, "dir", ".", "where the nodes of --self-cluster keep their data meanwhile; must be a real disk")
	f.IntSliceVar(&c.pids, "pids", nil, "processes of the target on this machine, whose processor time and memory count")
	f.IntVar(&c.opts.Workers, "workers", 3, "attached workers")
	f.IntVar(&c.opts.Payload, "payload", 0, "bytes of the input of a run")
	f.DurationVar(&c.opts.Duration, "duration", 10*time.Second, "how long is measured")
	f.DurationVar(&c.opts.Warmup, "warmup", 2*time.Second, "load before it is measured")
	f.BoolVar(&c.opts.Target.Gzip, "gzip", false, "compress calls, as some SDKs do")
	f.BoolVar(&c.opts.Target.Plain, "plain-client", false, "make calls with the ordinary gRPC client, which takes more of the machine")
	f.StringVar(&c.csv, "csv", "", "append the figures to a file, one line for each measurement")
	f.StringVar(&c.compare, "compare", "", "--compare A B measures two targets in turns and prints the ratios B/A")
	f.StringVar(&c.tokenB, "compare-token", "", "token for the second target")
	f.IntVar(&c.rounds, "rounds", 5, "turns of --compare")
	c.addWorkloads(root)
	return root
}

func (c *command) usage(err error) error {
	if _, ok := errors.AsType[*bench.OptionError](err); ok {
		return c.env.Usage(err)
	}
	return err
}

// workload makes the subcommand of a workload. Its flags are bound by bind.
func (c *command) workload(use, short string, bind func(*cobra.Command) measurement) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	measure := bind(cmd)
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case c.compare == "" && len(args) > 0:
			return c.env.Usage(fmt.Errorf("argument is %q: must be none, unless --compare A B", args[0]))
		case c.compare != "" && len(args) != 1:
			return c.env.Usage(fmt.Errorf("--compare has %d targets: must be 2, as in --compare A B", len(args)+1))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		defer c.bar.clear()
		if err := c.env.CheckOutput(); err != nil {
			return err
		}
		measure.options(&c.opts)
		if err := c.check(); err != nil {
			return c.usage(err)
		}
		if c.compare != "" {
			return c.usage(c.runCompare(cmd.Context(), measure, c.compare, args[0]))
		}
		spec, err := c.spec()
		if err != nil {
			return c.usage(err)
		}
		r, err := c.measureAt(cmd.Context(), measure, spec, c.env.Token)
		if err != nil {
			return c.usage(err)
		}
		return c.show(r)
	}
	return cmd
}

// spec is which target was asked for.
func (c *command) spec() (string, error) {
	if c.nodes == 0 {
		return c.target, nil
	}
	if c.nodes != 1 && c.nodes != 3 && c.nodes != 5 {
		return "", &bench.OptionError{Option: "self-cluster", Got: strconv.Itoa(c.nodes), Want: "1, 3 or 5"}
	}
	if c.target != "" && !strings.HasPrefix(c.target, self) {
		return "", &bench.OptionError{Option: "target", Got: c.target, Want: "absent, or self, with --self-cluster"}
	}
	if c.target == "" {
		return self, nil
	}
	return c.target, nil
}

// measureAt brings a target up, measures and takes it down.
func (c *command) measureAt(ctx context.Context, measure measurement, spec string, token func() (string, error)) (*bench.Result, error) {
	t, err := c.open(ctx, spec, token)
	if err != nil {
		return nil, err
	}
	defer t.close()
	return c.measureOpen(ctx, measure, t)
}

func (c *command) measureOpen(ctx context.Context, measure measurement, t *target) (*bench.Result, error) {
	o := c.opts
	o.Target = t.Target
	o.Target.Gzip, o.Target.Plain = c.opts.Target.Gzip, c.opts.Target.Plain
	o.Progress = c.bar.set
	r, err := measure.run(ctx, &o, t.cluster)
	c.bar.clear()
	if err != nil {
		if _, ok := errors.AsType[*bench.OptionError](err); ok {
			return nil, err
		}
		return nil, c.env.Explain(err, t.Addrs)
	}
	return r, nil
}

// show prints a result, and appends it to the file of --csv.
func (c *command) show(r *bench.Result) error {
	if c.csv != "" {
		if err := appendCSV(c.csv, r); err != nil {
			return err
		}
	}
	if !c.env.JSON() {
		r.Print(c.env.Out)
		return nil
	}
	return writeJSON(c.env.Out, r)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// check finds out before anything is measured whether it can be, and whether the
// figures can be kept.
func (c *command) check() error {
	if err := c.opts.Check(); err != nil || c.csv == "" {
		return err
	}
	f, err := openCSV(c.csv)
	if err != nil {
		return &bench.OptionError{Option: "csv", Got: c.csv, Want: fmt.Sprintf("a file that can be written: %v", err)}
	}
	return f.Close() //nolint:wrapcheck // nothing was written
}

func openCSV(file string) (*os.File, error) {
	return os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func appendCSV(file string, r *bench.Result) error {
	f, err := openCSV(file)
	if err != nil {
		return fmt.Errorf("append the figures: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = bench.WriteCSV(f, r, info.Size() == 0)
	}
	return errors.Join(err, f.Close())
}
