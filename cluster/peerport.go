package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// peerPort is the one port for other nodes. The first byte of a connection says
// whether it is Raft's or carries peer frames; both come after proof of the
// cluster key. To Raft it is a StreamLayer.
type peerPort struct {
	ln        net.Listener
	advertise namedAddr
	network   Network
	keys      *keys
	log       hclog.Logger
	onPeer    func(net.Conn) // owns the connection

	raftConns chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup

	mu   sync.Mutex
	open map[*trackedConn]struct{} // accepted, or Raft's own, and not yet closed; nil after shutdown

	dials    context.Context //nolint:containedctx // of Raft's dials, which have none; when it ends Raft gets no more connections
	endDials context.CancelFunc
}

func newPeerPort(ln net.Listener, advertise string, network Network, keys *keys, log hclog.Logger) *peerPort {
	if advertise == "" {
		advertise = ln.Addr().String()
	}
	p := &peerPort{
		ln: ln, advertise: namedAddr(advertise), network: network, keys: keys, log: log,
		raftConns: make(chan net.Conn), closed: make(chan struct{}), open: map[*trackedConn]struct{}{},
	}
	p.dials, p.endDials = context.WithCancel(context.Background())
	return p
}

// serve accepts connections until the port is shut down.
func (p *peerPort) serve() {
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			select {
			case <-p.closed:
				return
			case <-time.After(50 * time.Millisecond):
				p.log.Warn("accept a peer connection", "error", err)
				continue
			}
		}
		if t := p.track(conn, false); t != nil {
			p.wg.Go(func() { p.route(t) })
		}
	}
}

// track keeps a connection, accepted or Raft's own, in reach of shutdown. It closes
// one that comes too late.
func (p *peerPort) track(conn net.Conn, own bool) *trackedConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil || own && p.dials.Err() != nil {
		_ = conn.Close()
		return nil
	}
	t := &trackedConn{Conn: conn, port: p, own: own}
	p.open[t] = struct{}{}
	return t
}

// trackedConn leaves its port's list when it is closed.
type trackedConn struct {
	net.Conn
	port  *peerPort
	heard atomic.Pointer[time.Time] // when something last came to Raft; nil if it is not Raft's
	own   bool                      // Raft of this node opened it
}

// Read implements net.Conn.
func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.heard.Load() != nil {
		c.hear()
	}
	return n, err //nolint:wrapcheck // the connection's own
}

func (c *trackedConn) hear() {
	now := time.Now()
	c.heard.Store(&now)
}

// silent reports whether nothing came since a moment on a connection of Raft's.
func (c *trackedConn) silent(since time.Time) bool {
	at := c.heard.Load()
	return at != nil && !at.After(since)
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.port.mu.Lock()
	delete(c.port.open, c)
	c.port.mu.Unlock()
	return c.Conn.Close()
}

func (p *peerPort) route(conn *trackedConn) {
	kind, err := welcome(conn, p.keys.peer())
	if err != nil {
		_ = conn.Close()
		if errors.Is(err, errWrongKey) {
			p.log.Warn("refused a peer connection", "from", conn.RemoteAddr(), "error", err)
		} else {
			p.log.Debug("peer connection did not get in", "from", conn.RemoteAddr(), "error", err)
		}
		return
	}
	if kind == kindPeer {
		p.onPeer(conn)
		return
	}
	if !p.admit(conn) {
		_ = conn.Close()
		return
	}
	select {
	case p.raftConns <- conn:
	case <-p.closed:
		_ = conn.Close()
	}
}

// admit makes a connection one of Raft's, unless that is at its end.
func (p *peerPort) admit(conn *trackedConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dials.Err() != nil {
		return false
	}
	conn.hear()
	return true
}

// hangUp closes the connections of Raft's that others opened and on which nothing
// came since a moment. Whoever needs one opens another.
func (p *peerPort) hangUp(since time.Time) {
	p.drop(func(c *trackedConn) bool { return c.silent(since) })
}

// endRaft closes all connections of Raft's, and there will be no more: it may be
// reading or sending a snapshot, and does not look up from that.
func (p *peerPort) endRaft() {
	p.endDials()
	p.drop(func(c *trackedConn) bool { return c.own || c.heard.Load() != nil })
}

// drop closes some of the connections.
func (p *peerPort) drop(which func(*trackedConn) bool) {
	p.mu.Lock()
	var gone []*trackedConn
	for c := range p.open {
		if which(c) {
			gone = append(gone, c)
		}
	}
	p.mu.Unlock()
	for _, c := range gone {
		_ = c.Close()
	}
}

// shutdown closes the port and all that came in through it, and waits.
func (p *peerPort) shutdown() {
	_ = p.Close()
	_ = p.ln.Close()
	p.endDials()
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
	p.wg.Wait()
}

// dial connects to a peer port and proves the key.
func (p *peerPort) dial(ctx context.Context, addr string, kind connKind, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := p.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := shake(conn, p.keys.peer(), kind, timeout); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// Dial implements raft.StreamLayer.
func (p *peerPort) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = handshakeTimeout
	}
	conn, err := p.dial(p.dials, string(addr), kindRaft, timeout)
	if err != nil {
		return nil, err
	}
	if t := p.track(conn, true); t != nil {
		return t, nil
	}
	return nil, net.ErrClosed
}

// Accept implements net.Listener for Raft.
func (p *peerPort) Accept() (net.Conn, error) {
	select {
	case conn := <-p.raftConns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener for Raft; peer frames go on until shutdown.
func (p *peerPort) Close() error {
	p.closeOnce.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener: what the other nodes know this one by.
func (p *peerPort) Addr() net.Addr { return p.advertise }
