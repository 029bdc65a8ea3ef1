package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// settings are all that `limpet server` can be told. Each has one name, which
// is its flag, its key in the file and, in capitals after LIMPET_, its variable.
type settings struct {
	Name            string
	DataDir         string
	GRPC            string
	Peer            string
	Gossip          string
	HTTP            string
	AdvertiseGRPC   string
	AdvertisePeer   string
	AdvertiseGossip string
	AdvertiseHTTP   string
	BootstrapExpect int
	Join            []string
	ClusterKey      string
	ClusterKeyFile  string
	Broadcast       string
	ServerURL       string
	Dev             bool
	LeaseTTL        time.Duration
	LeaseGrace      time.Duration
	SoftPatience    time.Duration
	DeliveryTimeout time.Duration
	CancelChildren  bool
	MemoryAge       time.Duration
	MemoryRuns      int32
	MaxLiveRuns     int64
	MaxLiveBytes    int64
	HistoryAge      time.Duration
	HistoryBytes    int64
	RaftTimeout     time.Duration
	MaxMessage      int
	LogLevel        string
	LogFormat       string

	// origin says where a setting's value is from, unless it is the default: its
	// flag, a variable, or a line of the file.
	origin map[string]string
}

func defaultSettings() *settings {
	host, err := os.Hostname()
	if err != nil {
		host = "node-1"
	}
	return &settings{
		Name: strings.ToLower(strings.Split(host, ".")[0]), DataDir: "/var/lib/limpet",
		GRPC: "0.0.0.0:7077", Peer: "0.0.0.0:7078", Gossip: "0.0.0.0:7946", HTTP: "0.0.0.0:8888",
		BootstrapExpect: 1, LeaseTTL: 15 * time.Second, LeaseGrace: 5 * time.Second,
		SoftPatience: 500 * time.Millisecond, DeliveryTimeout: 30 * time.Second, RaftTimeout: 300 * time.Millisecond, MaxMessage: 4 << 20,
		MemoryAge: 10 * time.Minute, MemoryRuns: 5000, MaxLiveRuns: 2_000_000, MaxLiveBytes: 4 << 30, HistoryAge: 7 * 24 * time.Hour, HistoryBytes: 2 << 30,
		LogLevel: "info", LogFormat: "text",
	}
}

// bind lists every setting once.
func (s *settings) bind(f *pflag.FlagSet) {
	f.StringVar(&s.Name, "name", s.Name, "this node's name; stays the same for the life of the data directory")
	f.StringVar(&s.DataDir, "data-dir", s.DataDir, "directory of the log, the snapshots and the admin token")
	f.StringVar(&s.GRPC, "grpc", s.GRPC, "host:port for workers, clients and the command line")
	f.StringVar(&s.Peer, "peer", s.Peer, "host:port for the other nodes (Raft and forwarding)")
	f.StringVar(&s.Gossip, "gossip", s.Gossip, "host:port for gossip, TCP and UDP")
	f.StringVar(&s.HTTP, "http", s.HTTP, "host:port for REST, health and metrics")
	f.StringVar(&s.AdvertiseGRPC, "advertise-grpc", "", "host:port of --grpc as others reach it")
	f.StringVar(&s.AdvertisePeer, "advertise-peer", "", "host:port of --peer as other nodes reach it")
	f.StringVar(&s.AdvertiseGossip, "advertise-gossip", "", "host:port of --gossip as other nodes reach it")
	f.StringVar(&s.AdvertiseHTTP, "advertise-http", "", "host:port of --http as others reach it")
	f.IntVar(&s.BootstrapExpect, "bootstrap-expect", s.BootstrapExpect, "how many nodes form a new cluster: 1, 3 or 5; 0 only joins one")
	f.StringSliceVar(&s.Join, "join", nil, "gossip addresses of other nodes, tried for ever")
	f.StringVar(&s.ClusterKey, "cluster-key", "", "shared secret of the nodes, base64: limpet keygen makes one")
	f.StringVar(&s.ClusterKeyFile, "cluster-key-file", "", "file that holds the cluster key; further lines are keys that are also accepted, SIGHUP reads it anew")
	f.StringVar(&s.Broadcast, "broadcast-address", "", "gRPC address put into tokens, as SDKs reach the cluster: ipv4:a:p,b:p,c:p, or a DNS name and a port")
	f.StringVar(&s.ServerURL, "server-url", "", "HTTP base URL put into tokens")
	f.BoolVar(&s.Dev, "dev", false, "allow a node without a cluster key")
	f.DurationVar(&s.LeaseTTL, "lease-ttl", s.LeaseTTL, "a worker silent for so long loses its lease")
	f.DurationVar(&s.LeaseGrace, "lease-grace", s.LeaseGrace, "a worker silent for so long after its stream broke loses its lease")
	f.DurationVar(&s.SoftPatience, "soft-patience", s.SoftPatience, "how long a SOFT task waits for a slot on its worker; set when the cluster is formed")
	f.DurationVar(&s.DeliveryTimeout, "delivery-timeout", s.DeliveryTimeout, "how long a worker has to say that it has started a task that was sent to it; set when the cluster is formed")
	f.BoolVar(&s.CancelChildren, "cancel-children", false, "to cancel a task also cancels the runs that it spawned; set when the cluster is formed")
	f.DurationVar(&s.MemoryAge, "memory-age", s.MemoryAge, "a finished run goes from memory to the history on disk when it is older; set when the cluster is formed")
	f.Int32Var(&s.MemoryRuns, "memory-runs", s.MemoryRuns, "or when there are more finished runs, but never within 15 s of its end; set when the cluster is formed")
	f.Int64Var(&s.MaxLiveRuns, "max-live-runs", s.MaxLiveRuns, "new runs are refused while so many have not ended; set when the cluster is formed")
	f.Int64Var(&s.MaxLiveBytes, "max-live-bytes", s.MaxLiveBytes, "or when the payloads of all runs in memory have so many bytes; set when the cluster is formed")
	f.DurationVar(&s.HistoryAge, "history-age", s.HistoryAge, "how long finished runs are kept on this node's disk")
	f.Int64Var(&s.HistoryBytes, "history-bytes", s.HistoryBytes, "how much of this node's disk they may take; the oldest go first")
	f.DurationVar(&s.RaftTimeout, "raft-timeout", s.RaftTimeout, "heartbeat and election timeout; 300ms suits a LAN")
	f.IntVar(&s.MaxMessage, "max-message", s.MaxMessage, "largest message in bytes")
	f.StringVar(&s.LogLevel, "log-level", s.LogLevel, "trace, debug, info, warn or error")
	f.StringVar(&s.LogFormat, "log-format", s.LogFormat, "text or json")
}

// load fills what no flag has set from the environment, and what neither has
// set from the file.
func (s *settings) load(f *pflag.FlagSet, file string, env func(string) (string, bool)) error {
	var errs []error
	set := func(name, value, origin string) {
		if err := f.Set(name, value); err != nil {
			if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok && mustBe(e) != "" {
				err = errors.New(mustBe(e))
			}
			errs = append(errs, fmt.Errorf("%s: setting %s is %q: %w", origin, name, value, err))
		}
		s.origin[name] = origin + ": setting " + name
	}
	s.origin = map[string]string{}
	known := map[string]bool{}
	s.bindProbe().VisitAll(func(fl *pflag.Flag) { known[fl.Name] = true })
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed {
			s.origin[fl.Name] = "--" + fl.Name
		}
		if !known[fl.Name] || fl.Changed {
			return
		}
		name := "LIMPET_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v, ok := env(name); ok {
			set(fl.Name, v, "environment variable "+name)
		}
	})
	if file != "" {
		if err := loadFile(f, file, known, set); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *settings) bindProbe() *pflag.FlagSet {
	probe := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	(&settings{}).bind(probe)
	return probe
}

func loadFile(f *pflag.FlagSet, file string, known map[string]bool, set func(name, value, origin string)) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("settings file %s: %w", file, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("settings file %s: must be a list of `name: value` lines", file)
	}
	var errs []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, val := top.Content[i], top.Content[i+1]
		origin := file + ":" + strconv.Itoa(key.Line)
		name := strings.ReplaceAll(key.Value, "_", "-")
		if !known[name] {
			errs = append(errs, fmt.Errorf("%s: unknown setting %q; `limpet server --help` lists them", origin, key.Value))
			continue
		}
		if fl := f.Lookup(name); fl.Changed {
			continue
		}
		value := val.Value
		if val.Kind == yaml.SequenceNode {
			items := make([]string, len(val.Content))
			for j, n := range val.Content {
				items[j] = n.Value
			}
			value = strings.Join(items, ",")
		}
		set(name, value, origin)
	}
	return errors.Join(errs...)
}
