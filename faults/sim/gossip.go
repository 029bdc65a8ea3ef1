package sim

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// hostNet is the network as one host sees it: it implements cluster.Network.
type hostNet struct{ port *port }

// Listen implements cluster.Network.
func (h hostNet) Listen(string) (net.Listener, error) {
	return &listener{port: h.port, closed: make(chan struct{})}, nil
}

// Dial implements cluster.Network.
func (h hostNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return h.port.dial(ctx, addr)
}

// Gossip implements cluster.Network.
func (h hostNet) Gossip() (memberlist.Transport, error) {
	g := &gossip{port: h.port, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
	go g.pump()
	return g, nil
}

// gossip is memberlist's transport.
type gossip struct {
	port    *port
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
}

func (g *gossip) pump() {
	for {
		select {
		case p := <-g.port.packets:
			select {
			case g.packets <- &memberlist.Packet{Buf: p.data, From: netAddr(p.from), Timestamp: p.at}:
			case <-g.done:
				return
			}
		case c := <-g.port.accept[serveGossip]:
			select {
			case g.streams <- c:
			case <-g.done:
				return
			}
		case <-g.done:
			return
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, _, err := net.SplitHostPort(addrOf(g.port.host, serveGossip))
	return net.ParseIP(host), 7946, err
}

// WriteTo implements memberlist.Transport.
func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return time.Now(), g.port.send(b, addr)
}

// PacketCh implements memberlist.Transport.
func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// DialTimeout implements memberlist.Transport.
func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return g.port.dial(ctx, addr)
}

// StreamCh implements memberlist.Transport.
func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

// Shutdown implements memberlist.Transport.
func (g *gossip) Shutdown() error {
	close(g.done)
	return nil
}
