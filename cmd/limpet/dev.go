package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// The ports of one development node, from the beginning of its block of ten.
const (
	devBlock   = 10
	peerPort   = 1
	gossipPort = 2
	httpPort   = 3
	basePort   = 7077
	nextBlocks = 100 // where to look when the ports are taken
)

// devCluster is a cluster of child processes on loopback. It is written to the
// file dev.json of its directory, so that a node can be started again.
type devCluster struct {
	Dir   string `json:"dir"`
	Base  int    `json:"base_port"`
	Key   string `json:"cluster_key"`
	Nodes int    `json:"nodes"`
	Keep  bool   `json:"-"`
	// Program is what nodes run, "" for this program.
	Program string    `json:"-"`
	procs   []*child  // by node
	exits   chan exit // of the children
	io      stdio
}

func newDev(io stdio) *cobra.Command {
	d := &devCluster{io: io}
	var dir string
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a development cluster on this machine", Args: cobra.NoArgs,
		Long: "Run a development cluster: each node is a child process on loopback, with real ports\nand a real log, so that it can be killed for real.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.Dir, d.Keep = dir, cmd.Flags().Changed("data-dir")
			return d.run(cmd.Context(), cmd.Flags().Changed("base-port"))
		},
	}
	cmd.PersistentFlags().StringVar(&dir, "data-dir", devDir, "where everything is kept; the default is removed at the end")
	cmd.Flags().IntVar(&d.Nodes, "nodes", 3, "number of nodes: 1, 3 or 5")
	cmd.Flags().IntVar(&d.Base, "base-port", basePort, "first port; node n has the ten from P+10*n: gRPC, peer, gossip, HTTP")
	cmd.AddCommand(&cobra.Command{
		Use: "start-node N", Short: "Start node N (from 1) of a running development cluster again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return &exitError{code: exitUsage, err: fmt.Errorf("node is %q: must be a number from 1", args[0])}
			}
			return startDevNode(cmd.Context(), io, dir, n)
		},
	})
	return cmd
}

func (d *devCluster) name(n int) string { return "node-" + strconv.Itoa(n+1) }
func (d *devCluster) addr(n, port int) string {
	return "127.0.0.1:" + strconv.Itoa(d.Base+devBlock*n+port)
}
func (d *devCluster) pidFile(n int) string { return filepath.Join(d.Dir, d.name(n)+".pid") }

func (d *devCluster) hostPort() string {
	all := make([]string, d.Nodes)
	for n := range all {
		all[n] = d.addr(n, 0)
	}
	return "ipv4:" + strings.Join(all, ",")
}

// args is the command line of one node.
func (d *devCluster) args(n int) []string {
	out := []string{
		"server", "--name", d.name(n), "--data-dir", filepath.Join(d.Dir, d.name(n)), "--cluster-key", d.Key,
		"--grpc", d.addr(n, 0), "--peer", d.addr(n, peerPort), "--gossip", d.addr(n, gossipPort), "--http", d.addr(n, httpPort),
		"--bootstrap-expect", strconv.Itoa(d.Nodes), "--broadcast-address", d.hostPort(), "--server-url", "http://" + d.addr(0, httpPort),
	}
	for o := range d.Nodes {
		if o != n {
			out = append(out, "--join", d.addr(o, gossipPort))
		}
	}
	return out
}

func (d *devCluster) run(ctx context.Context, fixedPort bool) error {
	if d.Nodes != 1 && d.Nodes != 3 && d.Nodes != 5 {
		return &exitError{code: exitUsage, err: fmt.Errorf("--nodes is %d: must be 1, 3 or 5", d.Nodes)}
	}
	if last := 1<<16 - devBlock*d.Nodes; d.Base < 1 || d.Base > last {
		return &exitError{code: exitUsage, err: fmt.Errorf("--base-port is %d: must be 1 to %d, for each node has ten ports", d.Base, last)}
	}
	notes, err := d.prepare(fixedPort)
	if err != nil {
		return err
	}
	d.exits = make(chan exit, d.Nodes)
	d.procs = make([]*child, d.Nodes)
	defer d.stopAll()
	for n := range d.Nodes {
		if err := d.start(n); err != nil {
			return err
		}
	}
	state, err := d.awaitReady(ctx)
	if err != nil {
		return err
	}
	if err := d.writeEnv(state.token); err != nil {
		return err
	}
	d.banner(notes, state.leader)
	return d.watch(ctx)
}

// prepare makes the directory, or takes up the one of an earlier cluster, and
// finds free ports.
func (d *devCluster) prepare(fixedPort bool) (notes []string, err error) {
	if d.Dir, err = filepath.Abs(d.Dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	old, err := loadDev(d.Dir)
	switch {
	case err == nil:
		if old.running() {
			return nil, fmt.Errorf("a development cluster runs in %s already; stop it, or give --data-dir", d.Dir)
		}
		if old.Nodes != d.Nodes {
			return nil, fmt.Errorf("%s holds a cluster of %d nodes: give --nodes %d, or another --data-dir", d.Dir, old.Nodes, old.Nodes)
		}
		// The peers know each other by address: an old cluster keeps its ports.
		if fixedPort && old.Base != d.Base {
			return nil, fmt.Errorf("%s holds a cluster at base port %d: give --base-port %d, or another --data-dir", d.Dir, old.Base, old.Base)
		}
		d.Key, d.Base, fixedPort = old.Key, old.Base, true
		notes = append(notes, "state of an earlier cluster was found and is used")
	case errors.Is(err, os.ErrNotExist):
		if d.Key, err = newClusterKey(); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	want := d.Base
	if err := d.findPorts(fixedPort); err != nil {
		return nil, err
	}
	if d.Base != want {
		notes = append(notes, fmt.Sprintf("port %d or one near it is taken: using the block from %d", want, d.Base))
	}
	return notes, d.save()
}

func (d *devCluster) save() error {
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write dev.json: %w", err)
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "dev.json"), raw, 0o600); err != nil {
		return fmt.Errorf("write dev.json: %w", err)
	}
	return nil
}

func loadDev(dir string) (*devCluster, error) {
	file := filepath.Join(dir, "dev.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	d := &devCluster{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	d.Dir = dir
	return d, nil
}

// watch waits for the end, and says when a node dies.
func (d *devCluster) watch(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			return nil
		case e := <-d.exits:
			_, _ = fmt.Fprintf(d.io.out, "%s has ended (%s); start it again with: %s dev start-node %d --data-dir %s\n", d.name(e.node), e.how, called(), e.node+1, d.Dir)
		}
	}
}

// stopAll ends every node, also those that start-node started.
func (d *devCluster) stopAll() {
	_, _ = fmt.Fprintln(d.io.out, "\nstopping the nodes ...")
	for n := range d.Nodes {
		d.signal(n, syscall.SIGTERM)
	}
	const patience, poll = 15 * time.Second, 20 * time.Millisecond
	for end := time.Now().Add(patience); d.running() && time.Now().Before(end); {
		time.Sleep(poll)
	}
	for n := range d.Nodes {
		d.signal(n, syscall.SIGKILL)
		_ = os.Remove(d.pidFile(n))
	}
	if d.Keep {
		_, _ = fmt.Fprintf(d.io.out, "stopped; the data is kept in %s\n", d.Dir)
		return
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		_, _ = fmt.Fprintf(d.io.out, "stopped; %s could not be removed: %v\n", d.Dir, err)
		return
	}
	_, _ = fmt.Fprintf(d.io.out, "stopped; %s was removed (--data-dir keeps it)\n", d.Dir)
}
