package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/limpet-dev/limpet/cluster"
)

// logLevels are what --log-level may be.
func logLevels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// bad says which setting cannot be, where it is from, and what is allowed.
func (s *settings) bad(name string, got any, want string) error {
	origin := s.origin[name]
	if origin == "" {
		origin = "--" + name
	}
	if text, ok := got.(string); ok {
		got = fmt.Sprintf("%q", text)
	}
	return fmt.Errorf("%s is %v: %s", origin, got, want)
}

// check completes the settings and names the first that cannot be.
func (s *settings) check() error {
	for _, check := range []func() error{s.checkAddresses, s.checkLimits, s.checkRest} {
		if err := check(); err != nil {
			return err
		}
	}
	if s.Broadcast == "" {
		s.Broadcast = s.AdvertiseGRPC
	}
	if s.ServerURL == "" {
		s.ServerURL = "http://" + s.AdvertiseHTTP
	}
	return nil
}

func (s *settings) checkAddresses() error {
	for _, a := range []struct {
		name, listen string
		advertise    *string
	}{
		{"grpc", s.GRPC, &s.AdvertiseGRPC},
		{"peer", s.Peer, &s.AdvertisePeer},
		{"gossip", s.Gossip, &s.AdvertiseGossip},
		{"http", s.HTTP, &s.AdvertiseHTTP},
	} {
		host, port, err := net.SplitHostPort(a.listen)
		if err != nil {
			return s.bad(a.name, a.listen, "must be host:port")
		}
		if *a.advertise != "" {
			continue
		}
		if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
			if host = firstAddress(); host == "" {
				return s.bad("advertise-"+a.name, "", fmt.Sprintf("--%s listens on all addresses: say how others reach this node", a.name))
			}
		}
		*a.advertise = net.JoinHostPort(host, port)
	}
	return nil
}

func (s *settings) checkLimits() error {
	const (
		leastLive    = 1 << 20
		leastHistory = 16 << 20
		leastMessage = 64 << 10
	)
	switch {
	case s.MemoryAge < time.Minute:
		return s.bad("memory-age", s.MemoryAge, "must be 1m or more")
	case s.MemoryRuns < 1:
		return s.bad("memory-runs", s.MemoryRuns, "must be 1 or more")
	case s.MaxLiveRuns < 1:
		return s.bad("max-live-runs", s.MaxLiveRuns, "must be 1 or more")
	case s.MaxLiveBytes < leastLive:
		return s.bad("max-live-bytes", s.MaxLiveBytes, "must be 1048576 or more")
	case s.HistoryAge < time.Minute:
		return s.bad("history-age", s.HistoryAge, "must be 1m or more")
	case s.HistoryBytes < leastHistory:
		return s.bad("history-bytes", s.HistoryBytes, "must be 16777216 or more")
	case s.MaxMessage < leastMessage:
		return s.bad("max-message", s.MaxMessage, "must be at least 65536")
	}
	return nil
}

func (s *settings) checkRest() error {
	const leastTimeout = 50 * time.Millisecond
	switch {
	case s.LogFormat != "text" && s.LogFormat != "json":
		return s.bad("log-format", s.LogFormat, "must be text or json")
	case !slices.Contains(logLevels(), s.LogLevel):
		return s.bad("log-level", s.LogLevel, "must be one of "+strings.Join(logLevels(), ", "))
	case s.BootstrapExpect != 0 && s.BootstrapExpect != 1 && s.BootstrapExpect != 3 && s.BootstrapExpect != 5:
		return s.bad("bootstrap-expect", s.BootstrapExpect,
			"must be 1, 3 or 5, or 0 for a node that only joins a cluster; an even number of nodes outlives no more deaths than one node less")
	case s.RaftTimeout < leastTimeout:
		return s.bad("raft-timeout", s.RaftTimeout, "must be 50ms or more")
	}
	return nil
}

// settingOf are the settings by the names that the cluster gives them.
func settingOf() map[string]string {
	return map[string]string{
		"Name": "name", "DataDir": "data-dir", "Join": "join", "BootstrapExpect": "bootstrap-expect", "ClusterKey": "cluster-key",
		"PeerListen": "peer", "PeerAdvertise": "advertise-peer", "GossipListen": "gossip", "GossipAdvertise": "advertise-gossip",
		"Lease.TTL": "lease-ttl", "Lease.Grace": "lease-grace",
	}
}

// clusterConfig is what the cluster is to be opened with, so far as settings say
// it. Its errors name settings.
func (s *settings) clusterConfig() (cluster.Config, error) {
	cfg := cluster.DefaultConfig()
	key, others, err := s.keys()
	if err != nil {
		return cfg, err
	}
	cfg.Name, cfg.DataDir, cfg.ClusterKey, cfg.Dev, cfg.Version = s.Name, s.DataDir, key, s.Dev, version()
	cfg.OldKeys = others
	cfg.PeerListen, cfg.PeerAdvertise = s.Peer, s.AdvertisePeer
	cfg.GossipListen, cfg.GossipAdvertise = s.Gossip, s.AdvertiseGossip
	cfg.GRPCAddr, cfg.HTTPAddr = s.AdvertiseGRPC, s.AdvertiseHTTP
	cfg.BootstrapExpect, cfg.Join = s.BootstrapExpect, s.Join
	cfg.Lease = cluster.LeaseConfig{TTL: s.LeaseTTL, Grace: s.LeaseGrace}
	cfg.History = cluster.HistoryConfig{MaxAge: s.HistoryAge, MaxBytes: s.HistoryBytes}
	cfg.Raft.Heartbeat, cfg.Raft.Election, cfg.Raft.Lease = s.RaftTimeout, s.RaftTimeout, s.RaftTimeout/2
	err = cfg.Validate()
	wrong, ok := errors.AsType[*cluster.SettingError](err)
	if !ok {
		return cfg, err
	}
	names := settingOf()
	name, ok := names[wrong.Field]
	if !ok {
		return cfg, err
	}
	want := wrong.Want
	for field, setting := range names {
		if field != "Name" && field != "Join" { // words of the language too
			want = strings.ReplaceAll(want, field, "--"+setting)
		}
	}
	return cfg, s.bad(name, wrong.Got, want)
}

// level is --log-level for the log.
func (s *settings) level() hclog.Level { return hclog.LevelFromString(s.LogLevel) }

// firstAddress gives this machine's first address that is not loopback.
func firstAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}
