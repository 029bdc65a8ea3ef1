package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load reads settings as `limpet server` would.
func load(t *testing.T, args []string, file string, env map[string]string) (*settings, error) {
	t.Helper()
	s := defaultSettings()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.bind(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "limpet.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := s.load(f, path, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return s, err
}

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	file := "name: from-file\nlease-ttl: 21s\nlease_grace: 7s\njoin: [a:1, b:2]\n"
	env := map[string]string{"LIMPET_NAME": "from-env", "LIMPET_LEASE_TTL": "22s"}
	s, err := load(t, []string{"--name", "from-flag"}, file, env)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "from-flag" || s.LeaseTTL != 22*time.Second || s.LeaseGrace != 7*time.Second || s.SoftPatience != 500*time.Millisecond {
		t.Errorf("got name %q, lease-ttl %s, lease-grace %s, soft-patience %s", s.Name, s.LeaseTTL, s.LeaseGrace, s.SoftPatience)
	}
	if strings.Join(s.Join, " ") != "a:1 b:2" {
		t.Errorf("join is %q", s.Join)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, c := range []struct{ name, file, env, want string }{
		{"unknown key", "name: x\ncolour: y\n", "", `limpet.yaml:2: unknown setting "colour"`},
		{"bad value in the file", "lease-ttl: soon\n", "", `limpet.yaml:1: setting lease-ttl is "soon": must be a length of time`},
		{"no number in the file", "bootstrap-expect: three\n", "", `limpet.yaml:1: setting bootstrap-expect is "three": must be a whole number`},
		{"bad value in the environment", "", "soon", `environment variable LIMPET_LEASE_TTL: setting lease-ttl is "soon": must be a length of time`},
		{"not a mapping", "- a\n", "", "must be a list of `name: value` lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := map[string]string{}
			if c.env != "" {
				env["LIMPET_LEASE_TTL"] = c.env
			}
			if _, err := load(t, nil, c.file, env); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAClusterKeyIsRequiredOutsideDev(t *testing.T) {
	for _, c := range []struct {
		name, key, want string
		dev             bool
	}{
		{"none", "", "setting cluster-key is empty", false},
		{"none in dev", "", "", true},
		{"not base64", "???", "must be 16, 24 or 32 bytes in base64", false},
		{"too short", "YWJj", "must be 16, 24 or 32 bytes in base64", false},
		{"good", "MDEyMzQ1Njc4OWFiY2RlZg==", "", false},
		{"one to prove and one to accept", "# new\nMDEyMzQ1Njc4OWFiY2RlZg==\nZmVkY2JhOTg3NjU0MzIxMA==\n", "", false},
		{"the second too short", "MDEyMzQ1Njc4OWFiY2RlZg==\nYWJj", "must be 16, 24 or 32 bytes in base64", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &settings{ClusterKey: c.key, Dev: c.dev}
			_, _, err := s.keys()
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

const goodKey = "MDEyMzQ1Njc4OWFiY2RlZg=="

// cli runs a command line and gives its exit code and what it printed.
func cli(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, stdio{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func TestExitCodesAndErrors(t *testing.T) {
	t.Chdir(t.TempDir()) // no .limpet-dev here
	for _, name := range []string{"LIMPET_TOKEN", "LIMPET_ADDR", "HATCHET_CLIENT_TOKEN", "HATCHET_CLIENT_HOST_PORT"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown flag", []string{"run", "list", "--nope"}, exitUsage, "unknown flag: --nope; `limpet run list --help` lists those there are"},
		{"no token", []string{"run", "list"}, exitUsage, "no token: give --token"},
		{"bad address", []string{"run", "list", "--addr", "here", "--token", "x"}, exitUsage, `--addr is "here": must be host:port`},
		{"a URL", []string{"run", "list", "--addr", "http://127.0.0.1:7077", "--token", "x"}, exitUsage, `--addr is "http://127.0.0.1:7077": must be host:port of a node's gRPC, without http://`},
		{"a URL without a port", []string{"run", "list", "--addr", "http://here", "--token", "x"}, exitUsage, `--addr is "http://here": must be host:port`},
		{"no length of a list of acts", []string{"audit", "--limit", "0"}, exitUsage, "--limit is 0: must be 1 or more"},
		{"no port", []string{"run", "list", "--addr", "here:", "--token", "x"}, exitUsage, `--addr is "here:": must be host:port`},
		{"nobody there", []string{"run", "list", "--addr", "127.0.0.1:1", "--token", "x", "--timeout", "2s"}, exitUnavailable, "connection refused\"; is a node running there?"},
		{"no length of a list", []string{"run", "list", "--limit", "-1"}, exitUsage, "--limit is -1: must be 1 or more"},
		{"no length of a list of pins", []string{"pin", "list", "--limit", "0"}, exitUsage, "--limit is 0: must be 1 or more"},
		{"a token of the past", []string{"token", "create", "--ttl", "-5h"}, exitUsage, "--ttl is -5h0m0s: must be 1s or more"},
		{"a token of no time", []string{"token", "create", "--ttl", "0s"}, exitUsage, "--ttl is 0s: must be 1s or more"},
		{"no such policy", []string{"run", "trigger", "w", "--on-lost", "foo"}, exitUsage, `--on-lost is "foo": must be wait, fail or repin`},
		{"no program for the lab", []string{"lab", "run", "--random", "--bin", "./nosuch"}, exitUsage, `nosuch": must be a program that can be run`},
		{"no program for the agent", []string{"agent", "--token", "x", "--data-dir", "kept", "--", "./nosuch"}, exitUsage, `CMD is "./nosuch": must be a program that can be run`},
		{"bad output", []string{"run", "list", "--token", "x", "-o", "xml"}, exitUsage, `--output is "xml": must be table or json`},
		{"bad nodes", []string{"dev", "--nodes", "4"}, exitUsage, "--nodes is 4: must be 1, 3 or 5"},
		{"no cluster to start a node of", []string{"dev", "start-node", "1", "--data-dir", "nothing"}, exitNotFound, "holds no development cluster"},
		{"no argument", []string{"run", "get"}, exitUsage, "RUN is missing; usage: limpet run get RUN"},
		{"a second argument missing", []string{"workflow", "set", "w"}, exitUsage, "on_lost=wait|fail|repin is missing; usage: limpet workflow set"},
		{"no number", []string{"dev", "--base-port", "x"}, exitUsage, `--base-port is "x": must be a whole number`},
		{"a number too large", []string{"run", "list", "--limit", "3000000000"}, exitUsage, `--limit is "3000000000": must be a whole number from -2147483648 to 2147483647`},
		{"a number far too small", []string{"dev", "--base-port", "-99999999999999999999"}, exitUsage, `must be nearer to 0`},
		{"one too many of one", []string{"pin", "move", "r", "x", "--to", "w"}, exitUsage, `"x" is one argument too many; usage: limpet pin move RUN`},
		{"too many for a command with others below", []string{"audit", "x"}, exitUsage, `"x" is one argument too many`},
		{"no such port", []string{"dev", "--base-port", "99999"}, exitUsage, "--base-port is 99999: must be 1 to 65506"},
		{"no length of time", []string{"worker", "drain", "w", "--deadline", "5"}, exitUsage, `--deadline is "5": must be a length of time`},
		{"a list as of other groups", []string{"audit", "list", "--token", "x", "-o", "xml"}, exitUsage, `--output is "xml"`},
		{"an argument too many", []string{"run", "list", "x"}, exitUsage, `"x" is one argument too many; usage: limpet run list`},
		{"unknown command", []string{"frob"}, exitUsage, "unknown command \"frob\" of `limpet`: must be one of agent, audit, "},
		{"unknown command of a group", []string{"run", "frob"}, exitUsage, "unknown command \"frob\" of `limpet run`: must be one of cancel, get, list, replay, trigger"},
		{"nearly a command", []string{"worker", "lst"}, exitUsage, "did you mean "},
		{"unknown command below a command", []string{"dev", "frob"}, exitUsage, "unknown command \"frob\" of `limpet dev`: must be one of start-node"},
		{"unknown command of the bench", []string{"bench", "frob"}, exitUsage, "must be one of backlog, "},
		{"an odd number of nodes only", []string{"server", "--bootstrap-expect", "2"}, exitUsage, "--bootstrap-expect is 2: must be 1, 3 or 5, or 0 for a node that only joins"},
		{"nobody to join", []string{"server", "--bootstrap-expect", "3", "--cluster-key", goodKey}, exitUsage, `--join is "": must name at least one other node unless --bootstrap-expect is 1`},
		{"more grace than life", []string{"server", "--cluster-key", goodKey, "--lease-grace", "60s"}, exitUsage, `--lease-grace is "1m0s": must not exceed --lease-ttl, 15s`},
		{"log level", []string{"server", "--log-level", "loud"}, exitUsage, `--log-level is "loud": must be one of trace, debug, info, warn, error`},
		{"a bad name validated", []string{"config", "validate", "--cluster-key", goodKey, "--name", "A/B"}, exitUsage, `--name is "A/B": must be 1 to 63 of a-z`},
		{"error as JSON", []string{"run", "list", "-o", "json", "--addr", "here", "--token", "x"}, exitUsage, `"code": 2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, errs := cli(t, c.args...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d with %q, want %d with %q", code, errs, c.code, c.want)
			}
		})
	}
}

// The address was the one of the environment, the token the one of ./.limpet-dev:
// they were of two clusters.
func TestTheTokenIsFromWhereTheAddressIs(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir(devDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"addr": "127.0.0.1:2", "token": "dev"} {
		if err := os.WriteFile(filepath.Join(devDir, file), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"LIMPET_TOKEN", "LIMPET_ADDR", "HATCHET_CLIENT_TOKEN", "HATCHET_CLIENT_HOST_PORT"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct{ prefix, addr, token string }{
		{"", "127.0.0.1:2", "dev"}, {"HATCHET_CLIENT_", "127.0.0.1:3", "sdk"}, {"LIMPET_", "127.0.0.1:4", "own"},
	} {
		switch c.prefix {
		case "HATCHET_CLIENT_":
			t.Setenv("HATCHET_CLIENT_HOST_PORT", c.addr)
			t.Setenv("HATCHET_CLIENT_TOKEN", c.token)
		case "LIMPET_":
			t.Setenv("LIMPET_ADDR", c.addr)
			t.Setenv("LIMPET_TOKEN", c.token)
		}
		addrs, err := (&client{}).target()
		if err != nil || strings.Join(addrs, " ") != c.addr {
			t.Errorf("%q: address %q, %v", c.prefix, addrs, err)
		}
		if token, from := (&client{}).findToken(); token != c.token {
			t.Errorf("%q: token %q from %s", c.prefix, token, from)
		}
	}
}

// What the development cluster exports for SDKs was read by a server that was
// started in the same shell.
func TestTheDevelopmentClusterExportsNoSetting(t *testing.T) {
	d := &devCluster{Base: basePort, Nodes: 3}
	env := map[string]string{}
	for _, line := range d.env("token") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	s, err := load(t, nil, "", env)
	if err != nil || len(s.origin) > 0 {
		t.Errorf("settings from the exported variables: %v, %v", s.origin, err)
	}
}

func TestAddressesOfAllForms(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "a:1,b:2": "a:1 b:2", "ipv4:127.0.0.1:1,127.0.0.1:2": "127.0.0.1:1 127.0.0.1:2",
	} {
		got, err := (&client{addr: in}).target()
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q gives %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestKeygenMakesAKeyThatServerTakes(t *testing.T) {
	code, out, errs := cli(t, "keygen")
	if code != exitOK {
		t.Fatal(errs)
	}
	if _, _, err := (&settings{ClusterKey: strings.TrimSpace(out)}).keys(); err != nil {
		t.Error(err)
	}
}

func TestABadSettingSaysWhereItIsFrom(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       string
	}{
		{"a flag", "", nil, []string{"--log-level", "loud"}, `--log-level is "loud": must be`},
		{"a variable", "", map[string]string{"LIMPET_LOG_LEVEL": "loud"}, nil, `environment variable LIMPET_LOG_LEVEL: setting log-level is "loud": must be`},
		{"the file", "name: x\nlog-level: loud\n", nil, nil, `limpet.yaml:2: setting log-level is "loud": must be`},
	} {
		s, err := load(t, c.args, c.file, c.env)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestTheVersionIsAFlagToo(t *testing.T) {
	code, flag, errs := cli(t, "--version")
	_, command, _ := cli(t, "version")
	if code != exitOK || flag != command || !strings.HasPrefix(flag, "limpet "+release) {
		t.Errorf("exit %d, %q and %q, %s", code, flag, command, errs)
	}
}

func TestARefusalIsToldInFlags(t *testing.T) {
	root := newRoot(stdio{strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}})
	for _, c := range []struct{ command, text, want string }{
		{"run list", `status "bogus": must be one of queued`, `--status "bogus": must be one of queued`},
		{"token create", `grpc_address "x": must be`, `--address "x": must be`},
		{"run get", `id "x": no such run`, `RUN "x": no such run`},
		{"run trigger", `desired_worker_id "x": no such worker`, `--worker "x": no such worker`},
		{"run trigger", `worker "x": no such worker`, `--worker "x": no such worker`},
		{"run trigger", `metadata.limpet.on_lost "x": must be`, `--on-lost "x": must be`},
		{"run trigger", `priority "9": must be`, `--priority "9": must be`},
		{"pin move", `worker_id "x": it is paused`, `--to "x": it is paused`},
		{"worker pause", `worker "x": no such worker`, `WORKER "x": no such worker`},
		{"cluster remove", `name "x": no node`, `NODE "x": no node`},
		{"workflow set", `workflow "x": no such`, `WORKFLOW "x": no such`},
		{"run get", `no field here`, `no field here`},
	} {
		cmd, _, err := root.Find(strings.Fields(c.command))
		if err != nil {
			t.Fatal(err)
		}
		if got := inFlags(cmd, c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
}

func TestLimitsThatCannotBeAreNamed(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--memory-age", "59s", "--memory-age is 59s: must be 1m or more"},
		{"--memory-runs", "0", "--memory-runs is 0: must be 1 or more"},
		{"--max-live-runs", "0", "--max-live-runs is 0: must be 1 or more"},
		{"--max-live-bytes", "100", "--max-live-bytes is 100: must be 1048576 or more"},
		{"--history-age", "1s", "--history-age is 1s: must be 1m or more"},
		{"--history-bytes", "1048576", "--history-bytes is 1048576: must be 16777216 or more"},
	} {
		s, err := load(t, []string{"--grpc", "127.0.0.1:1", "--peer", "127.0.0.1:2", "--gossip", "127.0.0.1:3", "--http", "127.0.0.1:4", c.flag, c.value}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: %v, want %q", c.flag, c.value, err, c.want)
		}
	}
}
