package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/client/internal/nodetest"
)

// act says what this test binary does as an agent's program.
const act = "LIMPET_AGENT_TEST_ACT"

func TestMain(m *testing.M) {
	switch do, arg, _ := strings.Cut(os.Getenv(act), " "); do {
	case "":
		os.Exit(m.Run())
	case "exit":
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "env":
		for _, name := range []string{"HATCHET_CLIENT_HOST_PORT", "HATCHET_CLIENT_TOKEN", "HATCHET_CLIENT_TLS_STRATEGY", "HATCHET_CLIENT_SERVER_URL"} {
			fmt.Println(name + "=" + os.Getenv(name))
		}
	case "wait": // until it is told to end
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(7)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "count": // fails twice, and then ends well
		raw, _ := os.ReadFile(arg)
		_ = os.WriteFile(arg, append(raw, '.'), 0o600)
		if len(raw) < 2 {
			os.Exit(3)
		}
	}
	os.Exit(0)
}

// output is what a program prints, as it comes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	some chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.some <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// config is one of an agent whose program is this test binary.
func config(t *testing.T, do string) (Config, *output) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(act, do)
	out := &output{some: make(chan struct{}, 1)}
	return Config{
		Command: []string{self}, Addrs: []string{nodetest.Start(t).Addr}, Token: "the-token", DataDir: t.TempDir(), NoGossip: true,
		Logger: quiet(), Stdout: out, Stderr: out, RestartMax: time.Millisecond,
	}, out
}

func TestExitCodesArePassedOn(t *testing.T) {
	for _, c := range []struct {
		do      string
		restart Restart
		want    int
	}{
		{"exit 0", RestartOnFailure, 0},
		{"exit 42", RestartNever, 42},
		{"exit 0", RestartNever, 0},
	} {
		t.Run(c.do+" "+string(c.restart), func(t *testing.T) {
			cfg, _ := config(t, c.do)
			cfg.Restart = c.restart
			if code, err := Run(t.Context(), cfg); err != nil || code != c.want {
				t.Errorf("gives %d, %v", code, err)
			}
		})
	}
}

func TestAProgramThatFailsIsStartedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "starts")
	cfg, _ := config(t, "count "+file)
	code, err := Run(t.Context(), cfg)
	if raw, _ := os.ReadFile(file); err != nil || code != 0 || string(raw) != "..." {
		t.Errorf("gives %d, %v after %d starts, want the third to be the last", code, err, len(raw))
	}
}

func TestTheProgramIsLedToTheAgent(t *testing.T) {
	cfg, out := config(t, "env")
	t.Setenv("HATCHET_CLIENT_HOST_PORT", "somewhere:else")
	if _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HATCHET_CLIENT_HOST_PORT=127.0.0.1:", "HATCHET_CLIENT_TOKEN=the-token\n", "HATCHET_CLIENT_TLS_STRATEGY=none\n", "HATCHET_CLIENT_SERVER_URL=http://127.0.0.1:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("its environment has no %q: %s", want, out)
		}
	}
}

func TestASignalStopsTheProgram(t *testing.T) {
	for _, c := range []struct {
		do   string
		want int
	}{{"wait", 7}, {"deaf", 128 + int(syscall.SIGKILL)}} {
		t.Run(c.do, func(t *testing.T) {
			cfg, out := config(t, c.do)
			signals := make(chan os.Signal, 2)
			cfg.Signals, cfg.StopTimeout, cfg.Restart = signals, 200*time.Millisecond, RestartAlways
			if c.do == "wait" {
				cfg.StopTimeout = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				<-out.some // the program is up
				signals <- syscall.SIGTERM
			}()
			if code, err := Run(ctx, cfg); err != nil || code != c.want {
				t.Errorf("gives %d, %v; want %d", code, err, c.want)
			}
		})
	}
}

func TestSettingsThatAreWrongSayWhere(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"no program", "no program is named", func(c *Config) { c.Command = nil }},
		{"no token", "no token", func(c *Config) { c.Token = "" }},
		{"no directory", "data-dir", func(c *Config) { c.DataDir = "" }},
		{"restart", `restart is "sometimes"`, func(c *Config) { c.Restart = "sometimes" }},
		{"state", `state is "tape"`, func(c *Config) { c.State = "tape" }},
		{"drain", "drain-timeout is -1s", func(c *Config) { c.DrainTimeout = -time.Second }},
		{"pause", "restart-max is -1s", func(c *Config) { c.RestartMax = -time.Second }},
		{"no such program", `start "/no/such/program"`, func(c *Config) { c.Command = []string{"/no/such/program"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := config(t, "exit 0")
			c.change(&cfg)
			if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gives %v, want %q", err, c.want)
			}
		})
	}
}
