package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// env gives the lines for an SDK.
func (d *devCluster) env(token string) []string {
	return []string{
		"HATCHET_CLIENT_TOKEN=" + token,
		"HATCHET_CLIENT_TLS_STRATEGY=none",
		"HATCHET_CLIENT_HOST_PORT=" + d.hostPort(),
	}
}

func (d *devCluster) writeEnv(token string) error {
	for file, text := range map[string]string{
		"token": token,
		"addr":  strings.TrimPrefix(d.hostPort(), "ipv4:"),
		"env":   strings.Join(d.env(token), "\n"),
	} {
		if err := os.WriteFile(filepath.Join(d.Dir, file), []byte(text+"\n"), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	return nil
}

// called is how the user calls this program.
func called() string {
	if name := os.Args[0]; strings.ContainsRune(name, filepath.Separator) && filepath.Base(name) == "limpet" {
		return name
	}
	return "limpet"
}

func (d *devCluster) banner(notes []string, leader string) {
	keep := "removed at the end; --data-dir keeps it"
	if d.Keep {
		keep = "kept"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "limpet %s  development cluster (data in %s, %s)\n", version(), d.Dir, keep)
	for _, n := range notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	for n := range d.Nodes {
		mark := ""
		if d.name(n) == leader {
			mark = "*leader"
		}
		fmt.Fprintf(&b, "  %-7s %-8s grpc %s   http://%s   pid %d\n", d.name(n), mark, d.addr(n, 0), d.addr(n, httpPort), d.pid(n))
	}
	where := d.Dir
	if cwd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(cwd, d.Dir); err == nil && !strings.HasPrefix(rel, "..") {
			where = "./" + rel
		}
	}
	fmt.Fprintf(&b, "  Token    %s/token\n\nConnect a published Hatchet SDK (TypeScript, Python, Ruby):\n", where)
	fmt.Fprintf(&b, "  export HATCHET_CLIENT_TOKEN=$(cat %s/token)\n  export HATCHET_CLIENT_TLS_STRATEGY=none\n  export HATCHET_CLIENT_HOST_PORT=%s\n", where, d.hostPort())
	fmt.Fprintf(&b, "or all at once:  set -a; . %s/env; set +a\n", where)
	fmt.Fprintf(&b, "A worker:  cd examples/typescript && npm ci && npm run worker     (then: npm run start)\n")
	fmt.Fprintf(&b, "           or one in Python, Go or Ruby: examples/*/README.md; kept alive by an agent: examples/agent\n")
	fmt.Fprintf(&b, "Look:      %[1]s worker list | %[1]s run list | %[1]s pin list | %[1]s cluster status\n", called())
	fmt.Fprintf(&b, "Break it:  kill -9 $(cat %s/%s.pid)\nReady. Ctrl-C stops all nodes.\n", where, leader)
	_, _ = fmt.Fprint(d.io.out, b.String())
}
