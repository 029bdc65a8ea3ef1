package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fenced gives how many reports all nodes have refused because their attempt was
// over.
func (l *lab) fenced(ctx context.Context) (int, error) {
	sum := 0
	for n := range nodes {
		v, err := l.metric(ctx, n, "limpet_fenced_reports_total")
		if err != nil {
			return 0, err
		}
		sum += int(v)
	}
	return sum, nil
}

func (l *lab) metric(ctx context.Context, n int, name string) (float64, error) {
	const httpPort = 3
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(l.base+portsPerNode*n+httpPort)+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64) //nolint:wrapcheck // a figure or not
		}
	}
	return 0, fmt.Errorf("node-%d has no metric %s", n+1, name)
}

// cpu gives the processor time that a process has used.
func cpu(pid int) time.Duration {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// After the name, which may hold anything, in brackets.
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	const user, system, perSecond = 11, 12, 100
	if len(f) <= system {
		return 0
	}
	u, _ := strconv.Atoi(f[user])
	s, _ := strconv.Atoi(f[system])
	return time.Duration(u+s) * time.Second / perSecond
}
