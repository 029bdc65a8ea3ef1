package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench/benchcmd"
)

func newBench(c *client) *cobra.Command {
	return benchcmd.New(benchcmd.Env{
		Out: c.io.out, Err: c.io.err, JSON: c.json, CheckOutput: c.checkOutput, Addrs: c.target, Token: c.credentials,
		StartCluster: func(ctx context.Context, program, dir string, nodes int) (benchcmd.Cluster, error) {
			return startBenchCluster(ctx, program, dir, nodes)
		},
		Usage:   func(err error) error { return &exitError{code: exitUsage, err: err} },
		Explain: explain,
	})
}

// benchCluster is a development cluster that lives as long as a measurement.
type benchCluster struct {
	dev   *devCluster
	token string
	stop  context.CancelFunc // of who reads the exits
}

func startBenchCluster(ctx context.Context, program, dir string, nodes int) (*benchCluster, error) {
	const base = 30077
	tmp, err := os.MkdirTemp(dir, ".limpet-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the nodes: %w", err)
	}
	b := &benchCluster{dev: &devCluster{
		Dir: tmp, Base: base, Nodes: nodes, Program: program, io: stdio{out: io.Discard, err: io.Discard},
		exits: make(chan exit, nodes), procs: make([]*child, nodes),
	}, stop: func() {}}
	if _, err = b.dev.prepare(false); err == nil {
		for n := range nodes {
			if err = b.dev.start(n); err != nil {
				break
			}
		}
	}
	var state ready
	if err == nil {
		state, err = b.dev.awaitReady(ctx)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	b.token = state.token
	watching, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() {
		for {
			select {
			case <-watching.Done():
				return
			case <-b.dev.exits: // who kills nodes knows
			}
		}
	}()
	return b, nil
}

// Addrs implements [benchcmd.Cluster].
func (b *benchCluster) Addrs() []string {
	out := make([]string, b.dev.Nodes)
	for n := range out {
		out[n] = b.dev.addr(n, 0)
	}
	return out
}

// Token implements [benchcmd.Cluster].
func (b *benchCluster) Token() string { return b.token }

// PIDs implements [benchcmd.Cluster].
func (b *benchCluster) PIDs() []int {
	out := make([]int, b.dev.Nodes)
	for n := range out {
		out[n] = b.dev.pid(n)
	}
	return out
}

// Leader implements [benchcmd.Cluster].
func (b *benchCluster) Leader(ctx context.Context) (int, error) {
	const patience, poll = 20 * time.Second, 20 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(poll) {
		for n := range b.dev.Nodes {
			if name := b.dev.askLeader(ctx, n, b.token); name != "" {
				for k := range b.dev.Nodes {
					if b.dev.name(k) == name {
						return k, nil
					}
				}
			}
		}
	}
	return 0, errors.Join(errors.New("the cluster has no leader"), ctx.Err())
}

// Kill implements [benchcmd.Cluster].
func (b *benchCluster) Kill(n int) error {
	if pid := b.dev.pid(n); !alive(pid) {
		return fmt.Errorf("%s does not run", b.dev.name(n))
	}
	b.dev.signal(n, syscall.SIGKILL)
	return nil
}

// Start implements [benchcmd.Cluster].
func (b *benchCluster) Start(ctx context.Context, n int) error {
	const patience, poll = 10 * time.Second, 10 * time.Millisecond
	for end := time.Now().Add(patience); alive(b.dev.pid(n)); time.Sleep(poll) {
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%s has not ended", b.dev.name(n))
		}
	}
	if err := os.Remove(filepath.Join(b.dev.Dir, b.dev.name(n), "admin.token")); err != nil {
		return fmt.Errorf("start %s: %w", b.dev.name(n), err)
	}
	if err := b.dev.start(n); err != nil {
		return err
	}
	_, err := b.dev.awaitReady(ctx)
	return err
}

// Close implements [benchcmd.Cluster].
func (b *benchCluster) Close() {
	b.stop()
	b.dev.stopAll()
}
