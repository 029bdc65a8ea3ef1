package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/history"
)

// node is one coordinator node.
type node struct {
	name  string
	host  string
	dir   string // data
	grpc  string // address
	words []string
	env   []string
	conn  *grpc.ClientConn

	mu      sync.Mutex
	process *process
	exits   []int
}

// The files that control a node's clock and disk lie beside its data.
func (n *node) clockFile() string { return n.dir + ".clock" }
func (n *node) diskFile() string  { return n.dir + ".disk" }

// snapshotEntries is small, so that snapshots are taken and installed in a short
// run too.
const snapshotEntries = 256

// smallMiB is the size of the disk that can be filled.
const smallMiB = 256

// portsEach is how far the ports of two nodes of one host are apart.
const portsEach = 10

// addNodes prepares the nodes.
func (l *Lab) addNodes() error {
	key := make([]byte, 32)
	rand.Read(key)
	base := 0
	if l.wires == nil {
		var err error
		if base, err = freePorts(l.cfg.Nodes * portsEach); err != nil {
			return err
		}
	}
	gossip := make([]string, l.cfg.Nodes)
	for i := range l.cfg.Nodes {
		name := "node-" + strconv.Itoa(i+1)
		addr, err := l.net.join(name)
		if err != nil {
			return err
		}
		first := 7070
		if base > 0 {
			first = base + portsEach*i
		}
		at := func(port int) string { return net.JoinHostPort(addr, strconv.Itoa(first+port)) }
		n := &node{name: name, host: name, dir: filepath.Join(l.dir, "nodes", name), grpc: at(0)}
		gossip[i] = at(2)
		n.env = []string{"LIMPET_CLUSTER_KEY=" + base64.StdEncoding.EncodeToString(key)}
		n.words = []string{
			l.cfg.Bin, "server", "--name", name, "--data-dir", n.dir, "--grpc", at(0), "--peer", at(1), "--gossip", at(2), "--http", at(3),
			"--advertise-grpc", at(0), "--advertise-peer", at(1), "--advertise-gossip", at(2), "--advertise-http", at(3), "--broadcast-address", at(0),
			"--bootstrap-expect", strconv.Itoa(l.cfg.Nodes), "--log-format", "json", "--raft-timeout", l.cfg.RaftTimeout.String(),
			"--lab-clock-offset", n.clockFile(), "--lab-disk-faults", n.diskFile(), "--lab-journal", l.journals(),
			"--lab-snapshot-entries", strconv.Itoa(snapshotEntries),
		}
		if l.wires != nil {
			if err := smallDisk(n.dir, smallMiB); err != nil {
				return err
			}
		}
		if n.conn, err = grpc.NewClient(n.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20))); err != nil {
			return fmt.Errorf("connect to %s: %w", name, err)
		}
		l.nodes = append(l.nodes, n)
	}
	for i, n := range l.nodes {
		for j, addr := range gossip {
			if i != j {
				n.words = append(n.words, "--join", addr)
			}
		}
	}
	return nil
}

// freePorts gives the first of a block of ports of loopback that nobody uses now.
func freePorts(count int) (int, error) {
	for base := 26000; base < 60000; base += 1000 {
		free := true
		for port := base; port < base+count && free; port++ {
			ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // closed at once
			if free = err == nil; free {
				_ = ln.Close()
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d ports in a row are free on 127.0.0.1", count)
}

// startNode starts a node, again if need be.
func (l *Lab) startNode(n *node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process.running() {
		return nil
	}
	p, err := spawn(filepath.Join(l.dir, n.name+".log"), n.env, l.net.command(n.host, n.words...))
	if err != nil {
		return err
	}
	n.process = p
	l.history.Add(history.Event{Kind: history.NodeStart, Node: n.name})
	go func() {
		<-p.done
		code := p.exit()
		n.mu.Lock()
		n.exits = append(n.exits, code)
		n.mu.Unlock()
		l.history.Add(history.Event{Kind: history.NodeStop, Node: n.name, Detail: exited(code), Cause: p.cause()})
	}()
	return nil
}

// exited is how the history tells of an exit code.
func exited(code int) string { return "exit " + strconv.Itoa(code) }

func (n *node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process.running()
}

// stopNode ends a node and waits for it; with SIGTERM it may take its time.
func (l *Lab) stopNode(n *node, s syscall.Signal) {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if !p.running() {
		return
	}
	p.signal(syscall.SIGCONT)
	p.signal(s)
	const patience = 15 * time.Second
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
}

func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process.signal(s)
}

// lastExit is the code that the node ended with last; -2 if it never has.
func (n *node) lastExit() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.exits) == 0 {
		return -2
	}
	return n.exits[len(n.exits)-1]
}

func (n *node) admin() limpetv1.AdminClient { return limpetv1.NewAdminClient(n.conn) }

func (l *Lab) asAdmin(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+l.token)
}

// awaitCluster waits for the first token and for every node to serve.
func (l *Lab) awaitCluster(ctx context.Context) error {
	const patience = 60 * time.Second
	var gone *node
	err := until(ctx, patience, "the cluster to form", func() bool {
		for _, n := range l.nodes {
			if !n.up() {
				gone = n
				return true
			}
			if raw, err := os.ReadFile(filepath.Join(n.dir, "admin.token")); err == nil {
				l.token = strings.TrimSpace(string(raw))
				return true
			}
		}
		return false
	})
	if gone != nil {
		return fmt.Errorf("%s ended while the cluster was to form: is %q a limpet? Its log is %s", gone.name, l.cfg.Bin, filepath.Join(l.dir, gone.name+".log"))
	}
	if err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := l.awaitNode(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) awaitNode(ctx context.Context, n *node) error {
	const patience = 60 * time.Second
	return until(ctx, patience, n.name+" to serve", func() bool {
		one, cancel := context.WithTimeout(l.asAdmin(ctx), time.Second)
		defer cancel()
		_, err := n.admin().ListPins(one, &limpetv1.ListPinsRequest{Limit: 1})
		return err == nil
	})
}

// ask makes an operator's call to one node after the other until one answers.
func (l *Lab) ask(ctx context.Context, patience time.Duration, call func(context.Context, limpetv1.AdminClient) error) error {
	ctx, cancel := context.WithTimeout(l.asAdmin(ctx), patience)
	defer cancel()
	for i := 0; ; i++ {
		one, done := context.WithTimeout(ctx, 2*time.Second)
		err := call(one, l.nodes[i%len(l.nodes)].admin())
		done()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if sleep(ctx, pollEvery) != nil {
			return err
		}
	}
}

// leader gives the node that leads now, as a majority of the nodes says.
func (l *Lab) leader(ctx context.Context) (*node, error) {
	const patience = 30 * time.Second
	var found *node
	err := until(ctx, patience, "a leader", func() bool {
		votes := map[string]int{}
		for _, n := range l.nodes {
			if !n.up() {
				continue
			}
			one, cancel := context.WithTimeout(l.asAdmin(ctx), time.Second)
			st, err := n.admin().GetClusterStatus(one, &limpetv1.GetClusterStatusRequest{})
			cancel()
			if err == nil {
				votes[st.GetLeader()]++
			}
		}
		for _, n := range l.nodes {
			if votes[n.name] > len(l.nodes)/2 && n.up() {
				found = n
				return true
			}
		}
		return false
	})
	return found, err
}

// followers are the nodes that do not lead.
func (l *Lab) followers(leader *node) (out []*node) {
	for _, n := range l.nodes {
		if n != leader {
			out = append(out, n)
		}
	}
	return out
}

func write(file, text string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(tmp, file) //nolint:wrapcheck // says both names
}
