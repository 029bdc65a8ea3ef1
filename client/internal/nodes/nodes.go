// Package nodes keeps connections to the nodes of a cluster and says which one
// to use now.
package nodes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Set is the nodes of one cluster, each with a connection that is opened when it
// is first used. One of them is current: all calls go there until it fails, and
// then to the next.
//
// It has no goroutine of its own; Close closes the connections.
type Set struct {
	opts []grpc.DialOption

	mu      sync.Mutex
	given   []string // by the caller; kept for ever
	addrs   []string // in the order of trial
	conns   map[string]*Conn
	current int
	closed  bool
}

// Conn is the connection to one node.
type Conn struct {
	*grpc.ClientConn
	// Addr is the host:port of the node.
	Addr string
}

// ErrClosed is what a closed set answers.
var ErrClosed = errors.New("the connections to the nodes are closed")

// New makes a set of the nodes at the given addresses, host:port each. They are
// tried in random order, so that many programs spread over the nodes. It does
// not connect yet. The error names an address that is malformed.
func New(addrs []string, opts ...grpc.DialOption) (*Set, error) {
	if len(addrs) == 0 {
		return nil, errors.New("no node is named: give the host:port of at least one")
	}
	for _, a := range addrs {
		if !strings.Contains(a, ":") {
			return nil, fmt.Errorf("node address %q: must be host:port", a)
		}
	}
	s := &Set{opts: opts, given: slices.Clone(addrs), addrs: slices.Clone(addrs), conns: map[string]*Conn{}}
	rand.Shuffle(len(s.addrs), func(i, j int) { s.addrs[i], s.addrs[j] = s.addrs[j], s.addrs[i] })
	return s, nil
}

// Split reads a list of addresses as SDKs take it: host:port with commas, with
// or without "ipv4:" before it.
func Split(text string) []string {
	var out []string
	for a := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(text), "ipv4:"), ",") {
		if a = strings.TrimSpace(a); a != "" {
			out = append(out, a)
		}
	}
	return out
}

// Get gives the connection to the current node. The error says that the set is
// closed, or that the address cannot be dialled at all.
func (s *Set) Get() (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	addr := s.addrs[s.current]
	if c := s.conns[addr]; c != nil {
		return c, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, s.opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to node %q: %w", addr, err)
	}
	c := &Conn{ClientConn: cc, Addr: addr}
	s.conns[addr] = c
	return c, nil
}

// Failed says that a call on the connection failed for the node's sake: the next
// node becomes current, unless another caller has said so before. The connection
// stays open for the calls that still use it.
func (s *Set) Failed(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addrs[s.current] == c.Addr {
		s.current = (s.current + 1) % len(s.addrs)
	}
	// What is in its back-off must not make the next round wait.
	c.ResetConnectBackoff()
}

// Count is the number of known nodes.
func (s *Set) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.addrs)
}

// Addrs gives the addresses of the known nodes, in the order of trial.
func (s *Set) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.addrs)
}

// Learn replaces the nodes by those that the cluster names; the addresses that
// New was given stay in the list, after them. The current node stays so. The
// connections of nodes that are gone are closed after a minute.
func (s *Set) Learn(addrs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(addrs) == 0 {
		return
	}
	now := s.addrs[s.current]
	var list []string
	for _, a := range slices.Concat(s.addrs, addrs) {
		if (slices.Contains(addrs, a) || slices.Contains(s.given, a) || a == now) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	s.addrs, s.current = list, slices.Index(list, now)
	for addr, c := range s.conns {
		if !slices.Contains(list, addr) {
			delete(s.conns, addr)
			const lastCalls = time.Minute
			time.AfterFunc(lastCalls, func() { _ = c.Close() })
		}
	}
}

// Close closes all connections.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for addr, c := range s.conns {
		_ = c.Close()
		delete(s.conns, addr)
	}
}
