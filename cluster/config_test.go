package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestValidateNamesFieldValueAndWhatIsAllowed(t *testing.T) {
	good := func() Config {
		c := DefaultConfig()
		c.Name, c.DataDir, c.BootstrapExpect, c.ClusterKey = "node-1", "/var/lib/limpet", 3, testKey
		c.Join = []string{"10.0.0.2:7946"}
		return c
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // "" when it is valid
	}{
		{"a good one", func(*Config) {}, ""},
		{"a single node needs nobody to join", func(c *Config) { c.BootstrapExpect, c.Join = 1, nil }, ""},
		{"a dev node keeps all in memory without a key", func(c *Config) { c.Dev, c.DataDir, c.ClusterKey, c.Join = true, "", nil, nil }, ""},
		{"no name", func(c *Config) { c.Name = "" }, `Name is ""`},
		{"a name with a slash", func(c *Config) { c.Name = "a/b" }, `Name is "a/b"`},
		{"no directory", func(c *Config) { c.DataDir = "" }, "DataDir"},
		{"an address without port", func(c *Config) { c.PeerListen = "10.0.0.1" }, `PeerListen is "10.0.0.1": must be host:port`},
		{"a bad advertised address", func(c *Config) { c.GossipAdvertise = "x" }, `GossipAdvertise is "x"`},
		{"nothing that others can reach", func(c *Config) { c.PeerListen = "0.0.0.0:7078" }, `PeerAdvertise is "": other nodes cannot connect to "0.0.0.0:7078"`},
		{"all addresses with one advertised", func(c *Config) { c.PeerListen, c.PeerAdvertise = ":7078", "a.example:7078" }, ""},
		{"a seed without port", func(c *Config) { c.Join = []string{"b"} }, `Join is "b"`},
		{"no seeds", func(c *Config) { c.Join = nil }, "must name at least one other node"},
		{"too many", func(c *Config) { c.BootstrapExpect = 10 }, `BootstrapExpect is "10"`},
		{"no key", func(c *Config) { c.ClusterKey = nil }, `ClusterKey is "0 bytes"`},
		{"a short key", func(c *Config) { c.ClusterKey, c.Dev = testKey[:5], true }, `ClusterKey is "5 bytes": must be 16, 24 or 32 bytes`},
		{"no lease", func(c *Config) { c.Lease.TTL = 0 }, `Lease.TTL is "0s"`},
		{"more grace than life", func(c *Config) { c.Lease.Grace = time.Minute }, `Lease.Grace is "1m0s": must not exceed Lease.TTL, 15s`},
		{"a lease shorter than vouchers", func(c *Config) { c.VouchInterval = 10 * time.Second }, "3 times VouchInterval"},
		{"no waiting", func(c *Config) { c.MaxWaiting = 0 }, "MaxWaiting"},
		{"no heartbeat", func(c *Config) { c.Raft.Heartbeat = 0 }, "Raft.Heartbeat"},
		{"elections before heartbeats", func(c *Config) { c.Raft.Election = 100 * time.Millisecond }, "Raft.Election"},
		{"a lease longer than heartbeats", func(c *Config) { c.Raft.Lease = time.Second }, "Raft.Lease"},
		{"a long commit timeout", func(c *Config) { c.Raft.CommitTimeout = time.Second }, "Raft.CommitTimeout"},
		{"few trailing logs", func(c *Config) { c.Raft.TrailingLogs = 8 }, "Raft.TrailingLogs"},
		{"endless snapshots", func(c *Config) { c.Raft.SnapshotThreshold = 1 }, "Raft.SnapshotThreshold"},
		{"snapshots of nothing", func(c *Config) { c.Raft.SnapshotBytes = 1 }, "Raft.SnapshotBytes"},
		{"no snapshots kept", func(c *Config) { c.Raft.SnapshotRetain = 0 }, "Raft.SnapshotRetain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
