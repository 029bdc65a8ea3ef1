package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	limpet "github.com/limpet-dev/limpet/client"
)

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// workerMain is the worker's program. "sdk" is one of the Go SDK; "plain" speaks
// no more than the published SDKs do, and connects to whatever its environment
// says.
func workerMain(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	kind := f.String("kind", "sdk", "sdk or plain")
	name := f.String("name", "w", "the worker's name")
	dir := f.String("evidence", "", "where it writes down what it does")
	slots := f.Int("slots", 20, "its slots")
	identity := f.String("identity", "", "its identity, for sdk")
	fragile := f.Bool("fragile", false, "for plain: end at the first error of any call")
	noGossip := f.Bool("no-gossip", false, "for sdk: no gossip")
	if err := f.Parse(args); err != nil {
		return err
	}
	n, err := openNotebook(*dir, *name)
	if err != nil {
		return err
	}
	if *kind == "plain" {
		return plainWorker(ctx, n, *name, *slots, *fragile)
	}
	c, err := limpet.New(limpet.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	flows := declare(c, n)
	opts := []limpet.WorkerOption{limpet.WithWorkflows(flows.all()...), limpet.WithSlots(int32(*slots))} //nolint:gosec // our own figure
	if *identity != "" {
		opts = append(opts, limpet.WithIdentity(*identity))
	}
	if *noGossip {
		opts = append(opts, limpet.WithoutGossip())
	}
	w, err := limpet.NewWorker(c, *name, opts...)
	if err != nil {
		return err
	}
	return errors.Join(w.Run(ctx), c.Close())
}

// worker is one worker's process.
type worker struct {
	*proc

	name string
	kind string
	// child is the pid of an agent's program, once it has written something.
	agent bool
}

// startWorker starts a worker's process: sdk, plain, or agent, which is a plain
// one under an agent.
func (l *lab) startWorker(kind, name, identity string, slots int, more ...string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	program := "sdk"
	if kind != "sdk" {
		program = "plain"
	}
	args := []string{"worker", "--kind", program, "--name", name, "--evidence", l.evidence.dir, "--slots", strconv.Itoa(slots)}
	env := []string{
		"HATCHET_CLIENT_TOKEN=" + l.token, "HATCHET_CLIENT_HOST_PORT=" + strings.Join(l.addrs(), ","), "HATCHET_CLIENT_TLS_STRATEGY=none",
	}
	if kind == "agent" {
		if name == "fragile" {
			args = append(args, "--fragile")
		}
		args = append([]string{
			"agent", "--data-dir", l.dir + "/agent-" + identity, "--identity", identity, "--addr", strings.Join(l.addrs(), ","), "--token", l.token,
		}, append(more, append([]string{"--", self}, args...)...)...)
		self = l.bin
	} else {
		if identity != "" {
			args = append(args, "--identity", identity)
		}
		args = append(args, more...)
	}
	p, err := l.spawn(name+".log", env, self, args...)
	if err != nil {
		return nil, err
	}
	return &worker{proc: p, name: name, kind: kind, agent: kind == "agent"}, nil
}

// process gives what executes the tasks: the agent's child, or the process
// itself. pid is what the evidence says.
func (w *worker) process(pid int) int {
	if w.agent {
		return pid
	}
	return w.pid()
}
