package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one end of a simulated TCP connection.
type conn struct {
	port       *port
	in, out    *stream
	local, far netAddr
}

type netAddr string

func (netAddr) Network() string  { return "tcp" }
func (a netAddr) String() string { return string(a) }

// stream is one direction of a connection. Writing never blocks.
type stream struct {
	net *network
	way way

	mu       sync.Mutex
	queue    []piece
	last     time.Time // when the latest piece arrives
	closed   bool      // by the writer
	broken   bool      // reset, or closed by the reader
	deadline time.Time
	poke     chan struct{} // closed when any of the above changes
}

type piece struct {
	at   time.Time
	data []byte
}

func newStream(n *network, w way) *stream {
	return &stream{net: n, way: w, poke: make(chan struct{})}
}

func pair(a, b *port, service string) (mine, theirs *conn) {
	ab, ba := newStream(a.net, way{a.host, b.host}), newStream(a.net, way{b.host, a.host})
	at, bt := netAddr(addrOf(a.host, "40000")), netAddr(addrOf(b.host, service))
	return &conn{port: a, in: ba, out: ab, local: at, far: bt}, &conn{port: b, in: ab, out: ba, local: bt, far: at}
}

// changed must be called with mu held.
func (s *stream) changed() {
	close(s.poke)
	s.poke = make(chan struct{})
}

func (s *stream) write(b []byte) (int, error) {
	took := s.net.reliable(s.way)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.broken {
		return 0, errReset
	}
	at := time.Now().Add(took)
	if at.Before(s.last) {
		at = s.last // bytes stay in order
	}
	s.last = at
	s.queue = append(s.queue, piece{at, append([]byte(nil), b...)})
	s.changed()
	return len(b), nil
}

func (s *stream) read(b []byte) (int, error) {
	for {
		open, netChanged := s.net.state(s.way)
		s.mu.Lock()
		n, wait, err := s.take(b, open)
		poke := s.poke
		s.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		await(wait, poke, netChanged)
	}
}

// await returns when one of the channels is closed or, if wait is not 0, after
// that time.
func await(wait time.Duration, a, b <-chan struct{}) {
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-a:
	case <-b:
	case <-due:
	}
}

// take reads what has arrived, or says how long to wait (0: until something
// changes). It is called with mu held.
func (s *stream) take(b []byte, open bool) (n int, wait time.Duration, err error) {
	now := time.Now()
	if s.broken {
		return 0, 0, errReset
	}
	if open && len(s.queue) > 0 && !s.queue[0].at.After(now) {
		n = copy(b, s.queue[0].data)
		if s.queue[0].data = s.queue[0].data[n:]; len(s.queue[0].data) == 0 {
			s.queue = s.queue[1:]
		}
		return n, 0, nil
	}
	if open && len(s.queue) == 0 && s.closed {
		return 0, 0, io.EOF
	}
	if !s.deadline.IsZero() && !s.deadline.After(now) {
		return 0, 0, os.ErrDeadlineExceeded
	}
	if open && len(s.queue) > 0 {
		wait = s.queue[0].at.Sub(now)
	}
	if !s.deadline.IsZero() {
		if d := s.deadline.Sub(now); wait == 0 || d < wait {
			wait = d
		}
	}
	return 0, wait, nil
}

func (s *stream) end(mark *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !*mark {
		*mark = true
		s.changed()
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c)
	c.port.mu.Unlock()
	c.out.end(&c.out.closed)
	c.in.end(&c.in.broken)
	return nil
}

// reset ends both directions at once.
func (c *conn) reset() {
	c.out.end(&c.out.broken)
	c.in.end(&c.in.broken)
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.far }

// SetDeadline implements net.Conn; writing never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.deadline = t
	c.in.changed()
	return nil
}

// SetWriteDeadline implements net.Conn.
func (*conn) SetWriteDeadline(time.Time) error { return nil }

// listener is a port's way in for peers.
type listener struct {
	port   *port
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.port.accept[servePeers]:
		return c, nil
	case <-l.closed:
	case <-l.port.done:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return netAddr(addrOf(l.port.host, servePeers)) }
