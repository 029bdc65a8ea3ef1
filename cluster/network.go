package cluster

import (
	"context"
	"fmt"
	"net"

	"github.com/hashicorp/memberlist"
)

// Network is what a node needs of the outside: the seam that a simulation
// replaces.
type Network interface {
	// Listen opens the peer port.
	Listen(addr string) (net.Listener, error)
	// Dial connects to another node's peer port.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Gossip gives memberlist its transport; nil lets it use TCP and UDP.
	Gossip() (memberlist.Transport, error)
}

// tcp is the Network of a real node.
type tcp struct{}

func (tcp) Listen(addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for peers on %q: %w", addr, err)
	}
	return ln, nil
}

func (tcp) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (tcp) Gossip() (memberlist.Transport, error) { return nil, nil }

// namedAddr is an advertised host:port; the host may be a name.
type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }
