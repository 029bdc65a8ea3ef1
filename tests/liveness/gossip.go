package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// gossip: hundreds of gossiping workers on loopback; what that costs the nodes,
// and how fast one that dies is noticed.
func gossip(ctx context.Context, l *lab, _ int) (string, error) {
	n, minutes := l.figure(500, 1)
	return l.watchCrowd(ctx, n, minutes, true)
}

// gossipLoss: the same in a network that loses one packet in twenty. Nobody dies
// there, so nobody may lose a lease.
func gossipLoss(ctx context.Context, l *lab, _ int) (string, error) {
	n, minutes := l.figure(100, 5)
	if os.Getenv(inside) == "" {
		return l.elsewhere(ctx, n, minutes)
	}
	return "", nil
}

func (l *lab) figure(workers int, minutes float64) (int, time.Duration) {
	if l.options.workers > 0 {
		workers = l.options.workers
	}
	if l.minutes > 0 {
		minutes = l.minutes
	}
	return workers, time.Duration(minutes * float64(time.Minute))
}

func (l *lab) watchCrowd(ctx context.Context, n int, watch time.Duration, kill bool) (string, error) {
	// The crowd does no tasks that are written down: the witness does.
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	idle := l.nodesCPU(ctx, min(watch, 20*time.Second))
	// Five hundred members in one process: its memory is not what is measured.
	debug.SetGCPercent(thrifty)
	crowd, err := l.gather(ctx, n, joinEvery)
	if err != nil {
		return "", err
	}
	defer func() { _ = crowd.close() }()
	const patience = 3 * time.Minute
	var before map[string]*limpetv1.WorkerInfo
	err = until(ctx, patience, strconv.Itoa(n)+" live workers", func() bool {
		all, err := l.workers(ctx)
		before = crowdOf(all)
		return err == nil && len(before) == n
	})
	if err != nil {
		return "", err
	}
	if err := l.settle(ctx, n); err != nil {
		return "", err
	}
	busy := l.nodesCPU(ctx, watch)
	all, err := l.workers(ctx)
	if err != nil {
		return "", err
	}
	lost := 0
	for id, w := range before {
		if a := all[id]; a == nil || a.GetLease() == "lost" || a.GetEpoch() != w.GetEpoch() {
			lost++
			err = fmt.Errorf("worker %s lost its lease: %s", w.GetName(), a.GetReason())
		}
	}
	text := fmt.Sprintf("%d gossiping workers: processor per node %s (%s with none); %d leases lost in %s; suspicions %s",
		n, busy, idle, lost, watch, l.suspicions(ctx))
	if err != nil || !kill {
		return text, err
	}
	s := &samples{}
	const victims = 10
	for i := range victims {
		if err := l.loseOnce(ctx, victim{kind: "sdk", end: killAll}, s, "victim-"+strconv.Itoa(i)); err != nil {
			return text, err
		}
	}
	frozen := &samples{}
	for i := range 3 {
		if err := l.loseOnce(ctx, victim{kind: "sdk", end: stopChild}, frozen, "frozen-"+strconv.Itoa(i)); err != nil {
			return text, err
		}
	}
	return text + "; killed worker's task elsewhere " + s.String() + "; frozen worker's " + frozen.String(), nil
}

// settle waits until all nodes see all workers in gossip.
func (l *lab) settle(ctx context.Context, n int) error {
	const patience = 2 * time.Minute
	return until(ctx, patience, "all nodes to see all workers in gossip", func() bool {
		for i := range nodes {
			v, err := l.metric(ctx, i, `limpet_gossip_workers{state="alive"}`)
			if err != nil || int(v) < n {
				return false
			}
		}
		return true
	})
}

// thrifty spends memory for processor time.
const thrifty = 800

// joinEvery keeps one process of many members from drowning in what they tell
// each other of each other.
const joinEvery = 150 * time.Millisecond

// suspicions gives what gossip told the nodes and what became of it.
func (l *lab) suspicions(ctx context.Context) string {
	var parts []string
	for i := range nodes {
		v, err := l.metric(ctx, i, "limpet_gossip_worker_deaths_total")
		if err != nil {
			return "unknown: " + err.Error()
		}
		parts = append(parts, strconv.Itoa(int(v)))
	}
	return strings.Join(parts, "+")
}

// nodesCPU gives what share of one processor each node used.
func (l *lab) nodesCPU(ctx context.Context, watch time.Duration) string {
	var before [nodes]time.Duration
	for n := range nodes {
		before[n] = cpu(l.nodePid(n))
	}
	_ = sleep(ctx, watch)
	var parts []string
	for n := range nodes {
		parts = append(parts, fmt.Sprintf("%.1f%%", 100*float64(cpu(l.nodePid(n))-before[n])/float64(watch)))
	}
	return strings.Join(parts, " ")
}

// inside is set in the process that runs in a network of its own.
const inside = "LIMPET_LIVENESS_NETWORK"

// elsewhere runs the scenario in a network namespace whose loopback loses
// packets.
func (l *lab) elsewhere(ctx context.Context, n int, watch time.Duration) (text string, err error) {
	if os.Geteuid() != 0 {
		return "left out: it needs root for a network of its own", nil
	}
	name := "limpet-liveness-" + strconv.Itoa(os.Getpid())
	sh := func(args ...string) error {
		out, err := exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...).CombinedOutput() //nolint:gosec // our own words
		if err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	if err := sh("ip", "netns", "add", name); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, sh("ip", "netns", "delete", name)) }()
	for _, args := range [][]string{
		{"ip", "-n", name, "link", "set", "lo", "up"},
		{"ip", "netns", "exec", name, "nft", "add table inet loss"},
		{"ip", "netns", "exec", name, "nft", "add chain inet loss input { type filter hook input priority 0; }"},
		{"ip", "netns", "exec", name, "nft", "add rule inet loss input numgen random mod 100 < 5 counter drop"},
	} {
		if err := sh(args...); err != nil {
			return "", err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", name, self, "inside", //nolint:gosec // this program
		"--bin", l.bin, "--dir", l.dir, "--workers", strconv.Itoa(n), "--minutes", fmt.Sprint(watch.Minutes()))
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.Output()
	lost, lostErr := exec.CommandContext(context.WithoutCancel(ctx), "ip", "netns", "exec", name, "nft", "list chain inet loss input").Output() //nolint:gosec // our own words
	_, after, _ := strings.Cut(string(lost), "counter packets ")
	packets, _, _ := strings.Cut(after, " ")
	return "5 % of all packets lost (" + packets + "); " + string(out), errors.Join(err, lostErr)
}

// insideMain is the part of gossipLoss that runs in the lossy network.
func insideMain(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("inside", flag.ContinueOnError)
	l := &lab{base: 25000}
	f.StringVar(&l.bin, "bin", "", "")
	f.StringVar(&l.dir, "dir", "", "")
	f.IntVar(&l.options.workers, "workers", 0, "")
	f.Float64Var(&l.minutes, "minutes", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	l.dir = filepath.Join(l.dir, "inside")
	defer l.close()
	if err := l.start(ctx); err != nil {
		return err
	}
	n, watch := l.figure(0, 0)
	text, err := l.watchCrowd(ctx, n, watch, false)
	fmt.Print(text)
	return err
}
