package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

// way is one direction between two hosts.
type way struct{ from, to string }

// network joins hosts. A cut way carries nothing: what is written to a
// connection waits, as TCP repeats it, and packets are lost.
type network struct {
	mu      sync.Mutex
	rng     *rand.Rand
	cuts    map[way]int
	bad     map[way]weather
	ports   map[string]*port // by host
	changed chan struct{}    // closed at every change of the cuts
}

// weather is what a way does to what it carries.
type weather struct {
	delay, jitter time.Duration
	loss, repeat  float64
}

// fair is the weather of a way without a fault.
func fair() weather { return weather{delay: 200 * time.Microsecond, jitter: 300 * time.Microsecond} }

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, cuts: map[way]int{}, bad: map[way]weather{}, ports: map[string]*port{}, changed: make(chan struct{})}
}

// cut adds to the cuts of the ways, and heal takes them back: faults may overlap.
func (n *network) cut(ways []way)  { n.count(ways, 1) }
func (n *network) heal(ways []way) { n.count(ways, -1) }

func (n *network) count(ways []way, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		if n.cuts[w] += by; n.cuts[w] <= 0 {
			delete(n.cuts, w)
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// spoil sets the weather of ways; nil makes it fair.
func (n *network) spoil(ways []way, w *weather) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range ways {
		if w == nil {
			delete(n.bad, o)
		} else {
			n.bad[o] = *w
		}
	}
}

// state says whether the way is open, and gives what is closed when that
// changes.
func (n *network) state(w way) (open bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[w] == 0, n.changed
}

func (n *network) open(w way) bool {
	ok, _ := n.state(w)
	return ok
}

// trip is how long a message takes; lost ones are repeated after a while if
// the transport does so.
func (n *network) trip(w way) (took time.Duration, lost, repeated bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.bad[w]
	if !ok {
		c = fair()
	}
	took = c.delay + time.Duration(n.rng.Int64N(int64(c.jitter)+1))
	return took, n.rng.Float64() < c.loss, n.rng.Float64() < c.repeat
}

// reliable is the trip of a message that is repeated until it arrives.
func (n *network) reliable(w way) time.Duration {
	took, lost, _ := n.trip(w)
	if lost {
		took += 200 * time.Millisecond
	}
	return took
}

// cross takes the caller over the way: it returns when the message has arrived.
func (n *network) cross(ctx context.Context, w way) error {
	if err := pause(ctx, n.reliable(w)); err != nil {
		return err
	}
	for {
		ok, changed := n.state(w)
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause sleeps, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// port is what a host listens on: peers, and streams of gossip.
type port struct {
	host    string
	net     *network
	mu      sync.Mutex
	accept  map[string]chan net.Conn // by service
	packets chan packet
	conns   map[*conn]struct{}
	gone    bool
	done    chan struct{}
}

type packet struct {
	data []byte
	from string
	at   time.Time
}

const (
	servePeers  = "7078"
	serveGossip = "7946"
)

// attach gives a host a new port; an old one must have been dropped.
func (n *network) attach(host string) *port {
	p := &port{
		host: host, net: n, packets: make(chan packet, 256), conns: map[*conn]struct{}{}, done: make(chan struct{}),
		accept: map[string]chan net.Conn{servePeers: make(chan net.Conn, 64), serveGossip: make(chan net.Conn, 64)},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[host] = p
	return p
}

// drop takes the host off the network, as the end of its process does: its
// connections are reset.
func (p *port) drop() {
	p.net.mu.Lock()
	if p.net.ports[p.host] == p {
		delete(p.net.ports, p.host)
	}
	p.net.mu.Unlock()
	p.mu.Lock()
	conns := p.conns
	p.conns = map[*conn]struct{}{}
	if !p.gone {
		p.gone = true
		close(p.done)
	}
	p.mu.Unlock()
	for c := range conns {
		c.reset()
	}
}

func (p *port) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// hostOf takes an address apart: 10.0.0.3:7078 is node 3.
func hostOf(addr string) (host, service string, err error) {
	ip, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("address %q: %w", addr, err)
	}
	return "n" + ip[strings.LastIndexByte(ip, '.')+1:], service, nil
}

func addrOf(host, service string) string { return "10.0.0." + host[1:] + ":" + service }

// dial connects to another host.
func (p *port) dial(ctx context.Context, addr string) (net.Conn, error) {
	host, service, err := hostOf(addr)
	if err != nil {
		return nil, err
	}
	there, back := way{p.host, host}, way{host, p.host}
	if err := p.net.cross(ctx, there); err != nil {
		return nil, err
	}
	p.net.mu.Lock()
	other := p.net.ports[host]
	p.net.mu.Unlock()
	if err := p.net.cross(ctx, back); err != nil {
		return nil, err
	}
	if other == nil {
		return nil, errRefused
	}
	mine, theirs := pair(p, other, service)
	if !p.keep(mine) || !other.keep(theirs) {
		return nil, errRefused
	}
	select {
	case other.accept[service] <- theirs:
		return mine, nil
	default:
		return nil, errRefused
	}
}

// send is a packet to another host.
func (p *port) send(data []byte, addr string) error {
	host, _, err := hostOf(addr)
	if err != nil {
		return err
	}
	w := way{p.host, host}
	took, lost, repeated := p.net.trip(w)
	if lost || !p.net.open(w) {
		return nil
	}
	copied := append([]byte(nil), data...)
	deliver := func() {
		p.net.mu.Lock()
		other := p.net.ports[host]
		p.net.mu.Unlock()
		if other == nil || !p.net.open(w) {
			return
		}
		select {
		case other.packets <- packet{copied, addrOf(p.host, serveGossip), time.Now()}:
		default: // its buffer is full
		}
	}
	time.AfterFunc(took, deliver)
	if repeated {
		time.AfterFunc(2*took, deliver)
	}
	return nil
}

// clear ends all cuts and bad weather.
func (n *network) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	clear(n.bad)
	close(n.changed)
	n.changed = make(chan struct{})
}
