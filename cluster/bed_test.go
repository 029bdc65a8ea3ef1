package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// memberlist does not wait for its own probe at Shutdown; everything else must
// be gone.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

// bed is a cluster of real nodes in this process.
type bed struct {
	t     testing.TB
	names []string
	dirs  map[string]string
	peer  map[string]string // fixed addresses, so that a node can come back
	goss  map[string]string
	nodes map[string]*Node
	tweak func(*Config)
}

func newBed(tb testing.TB, size int, tweak func(*Config)) *bed {
	tb.Helper()
	b := &bed{
		t: tb, dirs: map[string]string{}, peer: map[string]string{}, goss: map[string]string{},
		nodes: map[string]*Node{}, tweak: tweak,
	}
	for i := range size {
		name := fmt.Sprintf("node-%d", i+1)
		b.names = append(b.names, name)
		b.dirs[name], b.peer[name], b.goss[name] = tb.TempDir(), freeAddr(tb), freeAddr(tb)
	}
	tb.Cleanup(func() {
		for _, n := range b.nodes {
			if err := n.shutdown(); err != nil {
				tb.Errorf("stop %s: %v", n.Name(), err)
			}
		}
	})
	return b
}

var (
	portsTried atomic.Uint32           // by freeAddr, one after another
	portsFrom  = rand.Uint32N(1 << 20) // so that processes begin at different ones
)

// freeAddr gives an address whose port is free for TCP and UDP, and never the same
// twice: nodes that are not open yet have ports too. It is not one that the system
// gives to connections: one of them could take it before the node does.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	const first, end, tries = 10000, 32000, 50
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+int((portsFrom+portsTried.Add(1))%(end-first))))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", addr)
		_ = ln.Close()
		if err == nil {
			_ = pc.Close()
			return addr
		}
	}
	tb.Fatal("no free port")
	return ""
}

func (b *bed) config(name string) Config {
	cfg := DefaultConfig()
	cfg.Name, cfg.DataDir = name, b.dirs[name]
	cfg.PeerListen, cfg.GossipListen = b.peer[name], b.goss[name]
	cfg.BootstrapExpect, cfg.ClusterKey, cfg.Version = len(b.names), testKey, "test"
	for _, other := range b.names {
		if other != name {
			cfg.Join = append(cfg.Join, b.goss[other])
		}
	}
	cfg.BootstrapCommand = bootstrap
	cfg.Fatal = func(err error) { b.t.Errorf("%s: %v", name, err) }
	level := hclog.Off
	if text := os.Getenv("CLUSTER_TEST_LOG"); text != "" {
		level = hclog.LevelFromString(text)
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: name, Level: level})
	if b.tweak != nil {
		b.tweak(&cfg)
	}
	return cfg
}

func (b *bed) start(names ...string) {
	b.t.Helper()
	for _, name := range names {
		n, err := Open(b.t.Context(), b.config(name))
		if err != nil {
			b.t.Fatal(err)
		}
		b.nodes[name] = n
	}
}

// kill stops a node without a word: no handing over, no goodbye.
func (b *bed) kill(name string) {
	b.t.Helper()
	n := b.nodes[name]
	delete(b.nodes, name)
	if err := n.shutdown(); err != nil {
		b.t.Fatalf("kill %s: %v", name, err)
	}
}

func (b *bed) awaitReady() {
	b.t.Helper()
	for name, n := range b.nodes {
		b.await(20*time.Second, func() error {
			if ok, why := n.Ready(); !ok {
				return fmt.Errorf("%s is not ready: %s", name, why)
			}
			return nil
		})
	}
}

// await polls until there is no error.
func (b *bed) await(limit time.Duration, check func() error) {
	b.t.Helper()
	end := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// leader waits for a node that leads.
func (b *bed) leader() *Node {
	b.t.Helper()
	var found *Node
	b.await(20*time.Second, func() error {
		for _, n := range b.nodes {
			if n.current.Load() != nil {
				found = n
				return nil
			}
		}
		return errors.New("no leader")
	})
	return found
}

func (b *bed) follower() *Node {
	b.t.Helper()
	leader := b.leader()
	for _, name := range b.names {
		if n := b.nodes[name]; n != nil && n != leader {
			return n
		}
	}
	b.t.Fatal("no follower")
	return nil
}

func (b *bed) status() Status {
	b.t.Helper()
	for _, n := range b.nodes {
		s, err := n.Status(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		return s
	}
	b.t.Fatal("no node")
	return Status{}
}

// awaitEqual waits until so many nodes have the same state.
func (b *bed) awaitEqual(size int) {
	b.t.Helper()
	b.await(20*time.Second, func() error {
		s := b.status()
		same := map[string]int{}
		for _, n := range s.Nodes {
			if n.Error == "" {
				same[fmt.Sprintf("%d/%s", n.Seq, n.StateHash)]++
			}
		}
		if len(same) != 1 {
			return fmt.Errorf("states differ: %+v", s.Nodes)
		}
		for _, count := range same {
			if count != size {
				return fmt.Errorf("%d of %d nodes answered: %+v", count, size, s.Nodes)
			}
		}
		return nil
	})
}

func propose(tb testing.TB, n *Node, cmd fsm.Command) fsm.Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	r, err := n.Propose(ctx, cmd)
	if err != nil {
		tb.Fatalf("propose at %s: %v", n.Name(), err)
	}
	return r
}

// bootstrap makes the first command of a cluster.
func bootstrap() fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_Bootstrap{Bootstrap: &limpetv1.Bootstrap{
		TenantId: "707d0855-80ab-4e1f-a156-f1c4546cbf52", TenantName: "default", ClusterId: "cluster-under-test",
		KeyId: "key-1", Key: []byte("not a real key"),
	}}}
}

// register makes a command that creates a worker; any number is a valid one.
func register(number int) fsm.Command {
	return &limpetv1.Command{Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: &limpetv1.RegisterWorker{
		TenantId: "707d0855-80ab-4e1f-a156-f1c4546cbf52", WorkerId: string(workerID(number)), Name: "w-" + strconv.Itoa(number),
		Actions: []string{"a:b"}, Slots: []*limpetv1.SlotRequest{{Type: "default", Units: 10}},
	}}}
}

func workerID(number int) fsm.WorkerID {
	return fsm.WorkerID(fmt.Sprintf("00000000-0000-7000-8000-%012d", number))
}

func workers(n *Node) int {
	count := 0
	for range n.View().Workers() {
		count++
	}
	return count
}

// fakeSink keeps what it was told.
type fakeSink struct {
	mu     sync.Mutex
	woken  map[fsm.Effect]bool
	resets int
}

func (s *fakeSink) Wake(effects []fsm.Effect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.woken == nil {
		s.woken = map[fsm.Effect]bool{}
	}
	for _, e := range effects {
		s.woken[e] = true
	}
}

func (s *fakeSink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets++
}

func (s *fakeSink) counts() (woken, resets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.woken), s.resets
}
