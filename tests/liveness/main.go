// Liveness kills, freezes, restarts and drains real workers and real nodes, as
// often as it is told, and prints how fast the cluster noticed and what it kept.
//
// It judges by what the workers wrote down themselves and by what the SDK
// answered. One line per scenario: kept or BROKEN, with its figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scenario is one thing that is done to a cluster, and what must hold after it.
type scenario struct {
	name string
	// times is how often it is done if nothing is said.
	times int
	run   func(ctx context.Context, l *lab, times int) (figures string, err error)
}

func scenarios() []scenario {
	return []scenario{
		{"kill", 50, kills},
		{"freeze", 50, freezes},
		{"identity", 50, identities},
		{"thaw", 5, thaws},
		{"worker-and-leader", 30, both},
		{"elections", 50, elections},
		{"rolling", 5, rolling},
		{"outage", 2, outage},
		{"mixed", 1, mixed},
		{"gossip", 1, gossip},
		{"gossip-loss", 1, gossipLoss},
	}
}

type options struct {
	bin, dir string
	times    int
	noAims   bool
	workers  int
	minutes  float64
	only     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the harness, or one of the programs that it starts itself as.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "worker" {
		return workerMain(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "inside" {
		return insideMain(ctx, args[1:])
	}
	o := options{}
	f := flag.NewFlagSet("liveness", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin/limpet", "the program to test")
	f.StringVar(&o.dir, "dir", ".cache/liveness", "where logs and evidence go; what is there is removed")
	f.IntVar(&o.times, "times", 0, "how often each scenario is done; 0 for its own figure")
	f.IntVar(&o.workers, "workers", 0, "workers of the scenarios elections, gossip and gossip-loss; 0 for their own figures")
	f.Float64Var(&o.minutes, "minutes", 0, "how long the scenarios gossip and gossip-loss watch; 0 for their own figures")
	f.BoolVar(&o.noAims, "no-aims", false, "report times without judging them, for machines that do other things too")
	f.StringVar(&o.only, "only", "", "only these scenarios, with commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	return runAll(ctx, o)
}

func runAll(ctx context.Context, o options) error {
	broken := 0
	all := scenarios()
	wanted := strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' })
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("--only is %q: no scenario is called %q", o.only, name)
		}
	}
	for i, s := range all {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) {
			continue
		}
		times := s.times
		if o.times > 0 {
			times = o.times
		}
		began := time.Now()
		figures, err := play(ctx, o, s, times, i)
		took := time.Since(began).Round(time.Second)
		if err != nil {
			broken++
			fmt.Printf("BROKEN  %s (%s): %s\n        %s\n", s.name, took, figures, strings.ReplaceAll(err.Error(), "\n", "\n        "))
			continue
		}
		fmt.Printf("kept    %s (%s): %s\n", s.name, took, figures)
	}
	if broken > 0 {
		return fmt.Errorf("%d scenario(s) broken; logs and evidence are in %s", broken, o.dir)
	}
	return nil
}

// play gives a scenario a cluster of its own.
func play(ctx context.Context, o options, s scenario, times, number int) (figures string, err error) {
	dir, err := filepath.Abs(filepath.Join(o.dir, s.name))
	if err != nil {
		return "", fmt.Errorf("--dir: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("clear %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const firstPort, portsEach = 25000, 100
	l := &lab{options: o, dir: dir}
	if l.base, err = freePorts(ctx, firstPort+portsEach*number); err != nil {
		return "", err
	}
	if s.name == "gossip-loss" { // it starts its cluster in a network of its own
		return s.run(ctx, l, times)
	}
	defer l.close()
	if err := l.start(ctx); err != nil {
		return "", err
	}
	return s.run(ctx, l, times)
}
