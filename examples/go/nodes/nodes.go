// Package nodes lets the Go SDK take a list of nodes as its address.
//
// The other SDKs' gRPC libraries know "ipv4:a:port,b:port" by themselves; the
// Go one does not, and the SDK reads its address as part of a URL. Both are put
// right from outside, so the SDK stays as it was published.
package nodes

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"google.golang.org/grpc/resolver"
)

const (
	scheme        = "ipv4"
	addressEnv    = "HATCHET_CLIENT_HOST_PORT"
	serverNameEnv = "HATCHET_CLIENT_TLS_SERVER_NAME"
)

// Use makes a list in HATCHET_CLIENT_HOST_PORT work; any other address is left
// to the SDK. Call it before the client is made.
func Use() error {
	list, found := strings.CutPrefix(os.Getenv(addressEnv), scheme+":")
	if !found {
		return nil
	}
	addresses, err := parse(list)
	if err != nil {
		return fmt.Errorf("%s: %w", addressEnv, err)
	}
	resolver.Register(builder{})
	if os.Getenv(serverNameEnv) != "" {
		return nil
	}
	// Without a name the SDK looks for one in the address and ends the process
	// because a list is no URL.
	first, _, _ := strings.Cut(addresses[0].Addr, ":")
	if err := os.Setenv(serverNameEnv, first); err != nil {
		return fmt.Errorf("set %s: %w", serverNameEnv, err)
	}
	return nil
}

func parse(list string) ([]resolver.Address, error) {
	if list == "" {
		return nil, errors.New("the list of nodes is empty: write ipv4:address:port,address:port")
	}
	var out []resolver.Address
	for one := range strings.SplitSeq(list, ",") {
		at, err := netip.ParseAddrPort(one)
		if err != nil || !at.Addr().Is4() {
			return nil, fmt.Errorf("%q is no IPv4 address with a port: write ipv4:address:port,address:port", one)
		}
		out = append(out, resolver.Address{Addr: at.String()})
	}
	return out, nil
}

// builder hands gRPC the nodes in the order they are listed in. It stays with
// the one that works and takes the next one when that goes.
type builder struct{}

// Scheme implements resolver.Builder.
func (builder) Scheme() string { return scheme }

// Build implements resolver.Builder. It fails if the target is not a list of
// IPv4 addresses with ports.
func (builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	addresses, err := parse(target.Endpoint())
	if err != nil {
		return nil, err
	}
	if err := cc.UpdateState(resolver.State{Addresses: addresses}); err != nil {
		return nil, fmt.Errorf("hand gRPC the nodes %q: %w", target.Endpoint(), err)
	}
	return fixed{}, nil
}

// fixed is a list that never changes.
type fixed struct{}

// ResolveNow implements resolver.Resolver.
func (fixed) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements resolver.Resolver.
func (fixed) Close() {}
