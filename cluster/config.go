package cluster

import (
	"fmt"
	"net"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/fsm"
)

// Sink is told what the applied commands changed on this node. Effects are
// merged and may be repeated: the receiver reads the View.
type Sink interface {
	// Wake names what changed since the last call.
	Wake(effects []fsm.Effect)
	// Reset says that anything may have changed (a snapshot was restored).
	Reset()
}

// Config is all that a Node needs to know.
type Config struct {
	// Name is the node's id in Raft and gossip. It must stay the same for the
	// life of the data directory.
	Name string
	// DataDir holds the log, the snapshots and the node's name. Empty is allowed
	// with Dev only and keeps everything in memory.
	DataDir string

	// PeerListen and GossipListen are host:port to listen on; port 0 picks one.
	PeerListen, GossipListen string
	// PeerAdvertise and GossipAdvertise are host:port that other nodes use;
	// empty means what is listened on.
	PeerAdvertise, GossipAdvertise string
	// GRPCAddr and HTTPAddr are only published, for clients and dashboards.
	GRPCAddr, HTTPAddr string

	// BootstrapExpect is how many nodes form a new cluster: 1, 3 or 5. With 0
	// the node only ever joins one. A node that has state ignores it.
	BootstrapExpect int
	// Join lists gossip addresses, host:port, of other nodes. They are tried
	// for ever.
	Join []string
	// ClusterKey is the shared secret of the nodes: 16, 24 or 32 bytes. It
	// encrypts gossip and guards the peer port. Empty is allowed with Dev only.
	ClusterKey []byte
	// OldKeys are accepted beside ClusterKey, while keys are changed.
	OldKeys [][]byte
	// Dev allows what a real cluster must not do: no key, no data directory.
	Dev bool
	// Version is this build's version, published to the other nodes.
	Version string

	// Decide adds to a draft what follows from the state with the draft applied.
	// It is pure. A full pass, FullPass commands, is asked to go on. May be nil.
	Decide func(*fsm.Draft)
	// CheckSpeculation applies each entry on the leader a second time when it is
	// committed, and stops the node if the state then differs from what it had
	// speculated. It costs a hash of the state for each entry: for tests.
	CheckSpeculation bool
	// Sink is told what changed. May be nil.
	Sink Sink
	// OnIsolated is called with true when the node has had no contact with a
	// leader for IsolatedAfter, and with false when it has again. May be nil.
	OnIsolated func(isolated bool)
	// BootstrapCommand makes the command that the first leader proposes while
	// the state has no cluster id. May be nil.
	BootstrapCommand func() fsm.Command
	// Fatal is called when the node cannot go on, with a sentence for the
	// operator; nil panics. The node applies nothing more.
	Fatal func(error)

	Lease LeaseConfig
	Raft  RaftConfig
	Disk  DiskConfig
	// IsolatedAfter is how long without a leader makes a node isolated.
	IsolatedAfter time.Duration
	// VouchInterval is how often a node tells the leader of which workers it
	// heard.
	VouchInterval time.Duration
	// ResendAfter is how long a command may go unanswered before it is sent to
	// the leader again.
	ResendAfter time.Duration
	// MaxWaiting bounds the commands that wait at this node for their result,
	// and those that wait at the leader for their entry.
	MaxWaiting int

	// History bounds the finished runs that the node keeps on disk.
	History HistoryConfig

	// Network replaces TCP, for simulations. Nil is TCP.
	Network Network
	// Stores replaces the data directory, for simulations. The stores outlive
	// the node. Nil is the directory, or memory.
	Stores *Stores
	// Wall replaces the wall clock that entries are stamped with, for
	// simulations of clocks that are wrong. Nil is the system's.
	Wall func() time.Time
	// OnApplied is called after each applied entry, in order, by the goroutine
	// that applies. For simulations; may be nil.
	OnApplied func(index, term uint64, entry *fsm.Entry, state fsm.View)
	// Logger receives the node's log. Nil discards it.
	Logger hclog.Logger
}

// Stores are what Raft keeps its state in.
type Stores struct {
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// LeaseConfig are the leader's figures for judging workers.
type LeaseConfig struct {
	// TTL is how long a worker may be silent before its lease is lost.
	TTL time.Duration
	// Grace is how long a worker may be silent after its stream ended.
	Grace time.Duration
}

// RaftConfig are the timings of the log.
type RaftConfig struct {
	Heartbeat, Election, Lease time.Duration
	// CommitTimeout bounds how late a follower learns of a commit on a quiet
	// cluster.
	CommitTimeout time.Duration
	// A snapshot is due after so many entries, looked at once in one to two
	// SnapshotIntervals, or so many bytes of them, unpacked; after more if the latest
	// snapshot is long, and up to half as much more by chance (see logged).
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	SnapshotBytes     uint64
	// SnapshotRetain is how many snapshots stay on disk.
	SnapshotRetain int
	// TrailingLogs is how many entries are kept behind a snapshot for slow
	// followers.
	TrailingLogs uint64
}

// FullPass is the number of commands at which Decide is taken to have stopped
// for its own limit; it is then called again at once.
const FullPass = 1024

// maxInFlight is how many entries may be proposed and not yet committed. It
// must stay far below TrailingLogs: a deposed leader's tail that is longer than
// that cannot be repaired by Raft.
const maxInFlight = 4

// DefaultConfig is a node on a LAN, without name, addresses and callbacks.
func DefaultConfig() Config {
	return Config{
		PeerListen:   "127.0.0.1:7078",
		GossipListen: "127.0.0.1:7946",
		Version:      buildVersion(),
		Lease:        LeaseConfig{TTL: 15 * time.Second, Grace: 5 * time.Second},
		Raft: RaftConfig{
			Heartbeat: 300 * time.Millisecond, Election: 300 * time.Millisecond, Lease: 150 * time.Millisecond,
			CommitTimeout:    25 * time.Millisecond,
			SnapshotInterval: 10 * time.Second, SnapshotThreshold: 8192, SnapshotBytes: 64 << 20, SnapshotRetain: 2,
			TrailingLogs: 4096,
		},
		Disk:          DiskConfig{WriteDeadline: 2 * time.Second, Failures: 5},
		IsolatedAfter: 2 * time.Second,
		VouchInterval: 500 * time.Millisecond,
		ResendAfter:   2 * time.Second,
		MaxWaiting:    65536,
		History:       HistoryConfig{MaxAge: 7 * 24 * time.Hour, MaxBytes: 2 << 30},
	}
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// SettingError says which setting is wrong, what it is, and what it may be.
type SettingError struct {
	// Field is the setting's name in Config.
	Field string
	// Got is its value.
	Got string
	// Want is what is allowed. Other settings have their names in Config there.
	Want string
}

// Error gives all three as one sentence.
func (e *SettingError) Error() string {
	return fmt.Sprintf("cluster setting %s is %q: %s", e.Field, e.Got, e.Want)
}

func invalid(field string, got any, want string) error {
	return &SettingError{Field: field, Got: fmt.Sprint(got), Want: want}
}

// Validate names the first setting that cannot be used, its value and what is
// allowed.
func (c *Config) Validate() error {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`).MatchString(c.Name) {
		return invalid("Name", c.Name, "must be 1 to 63 of a-z, 0-9, dot and hyphen, and start and end with a letter or digit")
	}
	if c.DataDir == "" && !c.Dev {
		return invalid("DataDir", c.DataDir, "must name a directory; only a dev node may keep everything in memory")
	}
	for _, check := range []func() error{c.validateAddresses, c.validateFormation, c.validateTimes, c.validateRaft} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateAddresses() error {
	for _, a := range []struct{ field, listen, advertiseField, advertise string }{
		{"PeerListen", c.PeerListen, "PeerAdvertise", c.PeerAdvertise},
		{"GossipListen", c.GossipListen, "GossipAdvertise", c.GossipAdvertise},
	} {
		if _, _, err := net.SplitHostPort(a.listen); err != nil {
			return invalid(a.field, a.listen, "must be host:port")
		}
		reach := a.advertise
		if reach == "" {
			reach = a.listen
		}
		host, _, err := net.SplitHostPort(reach)
		if err != nil {
			return invalid(a.advertiseField, reach, "must be host:port")
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return invalid(a.advertiseField, a.advertise, fmt.Sprintf("other nodes cannot connect to %q: name an address of this machine", reach))
		}
	}
	for _, j := range c.Join {
		if _, _, err := net.SplitHostPort(j); err != nil {
			return invalid("Join", j, "must be the host:port of a node's gossip")
		}
	}
	return nil
}

func (c *Config) validateFormation() error {
	switch {
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 9:
		return invalid("BootstrapExpect", c.BootstrapExpect, "must be 0 to 9; 1, 3 and 5 make sense")
	case c.BootstrapExpect != 1 && len(c.Join) == 0 && !c.Dev:
		return invalid("Join", "", "must name at least one other node unless BootstrapExpect is 1")
	}
	for i, k := range c.OldKeys {
		if !validKey(k) {
			return invalid(fmt.Sprintf("OldKeys[%d]", i), fmt.Sprintf("%d bytes", len(k)), "must be 16, 24 or 32 bytes")
		}
	}
	if validKey(c.ClusterKey) || len(c.ClusterKey) == 0 && c.Dev && len(c.OldKeys) == 0 {
		return nil
	}
	return invalid("ClusterKey", fmt.Sprintf("%d bytes", len(c.ClusterKey)), "must be 16, 24 or 32 bytes, the same on all nodes")
}

func (c *Config) validateTimes() error {
	for _, d := range []struct {
		field string
		got   time.Duration
	}{
		{"Lease.TTL", c.Lease.TTL},
		{"Lease.Grace", c.Lease.Grace},
		{"IsolatedAfter", c.IsolatedAfter},
		{"VouchInterval", c.VouchInterval},
		{"ResendAfter", c.ResendAfter},
		{"Raft.SnapshotInterval", c.Raft.SnapshotInterval},
		{"Disk.WriteDeadline", c.Disk.WriteDeadline},
	} {
		if d.got < 10*time.Millisecond {
			return invalid(d.field, d.got, "must be 10ms or more")
		}
	}
	switch {
	case c.Lease.Grace > c.Lease.TTL:
		return invalid("Lease.Grace", c.Lease.Grace, fmt.Sprintf("must not exceed Lease.TTL, %v", c.Lease.TTL))
	case c.Lease.TTL < 3*c.VouchInterval:
		return invalid("Lease.TTL", c.Lease.TTL, fmt.Sprintf("must be 3 times VouchInterval, %v, or more", c.VouchInterval))
	case c.Disk.Failures < 1:
		return invalid("Disk.Failures", c.Disk.Failures, "must be 1 or more")
	case c.MaxWaiting < 1:
		return invalid("MaxWaiting", c.MaxWaiting, "must be 1 or more")
	case c.History.MaxAge < time.Minute:
		return invalid("History.MaxAge", c.History.MaxAge, "must be 1m or more")
	case c.History.MaxBytes < 1<<24:
		return invalid("History.MaxBytes", c.History.MaxBytes, "must be 16 MiB or more")
	}
	return nil
}

func (c *Config) validateRaft() error {
	r := &c.Raft
	switch {
	case r.Heartbeat < 10*time.Millisecond:
		return invalid("Raft.Heartbeat", r.Heartbeat, "must be 10ms or more")
	case r.Election < r.Heartbeat:
		return invalid("Raft.Election", r.Election, fmt.Sprintf("must not be less than Raft.Heartbeat, %v", r.Heartbeat))
	case r.Lease < 5*time.Millisecond || r.Lease > r.Heartbeat:
		return invalid("Raft.Lease", r.Lease, fmt.Sprintf("must be 5ms to Raft.Heartbeat, %v", r.Heartbeat))
	case r.CommitTimeout < time.Millisecond || r.CommitTimeout >= r.Heartbeat:
		return invalid("Raft.CommitTimeout", r.CommitTimeout, fmt.Sprintf("must be 1ms to less than Raft.Heartbeat, %v", r.Heartbeat))
	case r.TrailingLogs < 64:
		return invalid("Raft.TrailingLogs", r.TrailingLogs, "must be 64 or more")
	case r.SnapshotThreshold < 16:
		return invalid("Raft.SnapshotThreshold", r.SnapshotThreshold, "must be 16 or more")
	case r.SnapshotBytes < 1<<20:
		return invalid("Raft.SnapshotBytes", r.SnapshotBytes, "must be 1 MiB or more")
	case r.SnapshotRetain < 1:
		return invalid("Raft.SnapshotRetain", r.SnapshotRetain, "must be 1 or more")
	}
	return nil
}
