package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const peerDialTimeout = time.Second

// peers are the connections that this node opened to others: one each, for all
// that it has to say to them, dialed when needed and again when broken.
type peers struct {
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	hello     *limpetv1.PeerHello
	onRefused func(*limpetv1.PeerRefused)
	onBroken  func()

	mu     sync.Mutex
	byAddr map[string]*peerSlot
	closed bool
	wg     sync.WaitGroup
}

// newPeers gives the outgoing side of the peer port.
func newPeers(port *peerPort, hello *limpetv1.PeerHello, onRefused func(*limpetv1.PeerRefused), onBroken func()) *peers {
	return &peers{
		dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return port.dial(ctx, addr, kindPeer, peerDialTimeout)
		},
		hello: hello, onRefused: onRefused, onBroken: onBroken, byAddr: map[string]*peerSlot{},
	}
}

// peerSlot makes sure that only one caller dials an address.
type peerSlot struct {
	busy chan struct{} // capacity 1; held while dialing, so a caller can give up
	conn *peerConn
}

// conn gives a working connection to a node.
func (p *peers) conn(ctx context.Context, addr string) (*peerConn, error) {
	p.mu.Lock()
	slot := p.byAddr[addr]
	if slot == nil {
		slot = &peerSlot{busy: make(chan struct{}, 1)}
		p.byAddr[addr] = slot
	}
	p.mu.Unlock()
	select {
	case slot.busy <- struct{}{}:
		defer func() { <-slot.busy }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to node at %q: %w", addr, context.Cause(ctx))
	}
	if slot.conn != nil && !slot.conn.broken() {
		return slot.conn, nil
	}
	raw, err := p.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to node at %q: %w", addr, err)
	}
	c := &peerConn{frameConn: newFrameConn(raw), calls: map[uint64]chan *limpetv1.PeerFrame{}, done: make(chan struct{})}
	if err := c.write(&limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_Hello{Hello: p.hello}}); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = raw.Close()
		return nil, ErrClosed
	}
	slot.conn = c
	p.wg.Go(func() { p.listen(c) })
	return c, nil
}

// listen reads what comes back until the connection breaks.
func (p *peers) listen(c *peerConn) {
	for {
		f, err := c.read()
		if err != nil {
			break
		}
		if r := f.GetRefused(); r != nil {
			p.onRefused(r)
			continue
		}
		c.mu.Lock()
		answer := c.calls[f.GetId()]
		delete(c.calls, f.GetId())
		c.mu.Unlock()
		if answer != nil {
			answer <- f
		}
	}
	_ = c.conn.Close()
	close(c.done)
	p.onBroken()
}

// close ends all connections and waits.
func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	slots := p.byAddr
	p.byAddr = map[string]*peerSlot{}
	p.mu.Unlock()
	for _, s := range slots {
		s.busy <- struct{}{}
		if s.conn != nil {
			_ = s.conn.conn.Close()
		}
		<-s.busy
	}
	p.wg.Wait()
}

// peerConn is one connection to another node.
type peerConn struct {
	*frameConn
	done chan struct{} // closed when broken

	mu    sync.Mutex
	last  uint64
	calls map[uint64]chan *limpetv1.PeerFrame
}

func (c *peerConn) broken() bool { return isClosed(c.done) }

// call sends a question and waits for its answer.
func (c *peerConn) call(ctx context.Context, f *limpetv1.PeerFrame) (*limpetv1.PeerFrame, error) {
	answer := make(chan *limpetv1.PeerFrame, 1)
	c.mu.Lock()
	c.last++
	f.Id = c.last
	c.calls[f.GetId()] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, f.GetId())
		c.mu.Unlock()
	}()
	if err := c.write(f); err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-c.done:
		return nil, errBroken
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send implements route: what the leader does not take comes back by and by.
func (c *peerConn) send(batch []*waiter) ([]refusal, error) {
	cmds := &limpetv1.PeerCommands{Commands: make([][]byte, len(batch))}
	for i, w := range batch {
		cmds.Commands[i] = w.data
		if w.resent {
			cmds.Resent = append(cmds.Resent, uint32(i)) //nolint:gosec // a batch has far fewer
		}
	}
	return nil, c.write(&limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_Commands{Commands: cmds}})
}
