package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
)

// mixed: a worker of the Go SDK, one in TypeScript under an agent and one in
// Python connected directly serve one HARD workflow, and the leader dies.
func mixed(ctx context.Context, l *lab, _ int) (string, error) {
	if err := l.startMixed(); err != nil {
		return "", err
	}
	names := map[string]string{} // by worker
	for _, name := range []string{"go-direct", "ts-agent", "py-direct"} {
		w, err := l.live(ctx, name)
		if err != nil {
			return "", err
		}
		names[w.GetId()] = name
	}
	const runs, step = 300, 50
	var mu sync.Mutex
	var errs []error
	var failed []*limpet.RunError
	share := map[string]int{}
	var wg sync.WaitGroup
	const atOnce = 24
	gate := make(chan struct{}, atOnce)
	for i := range runs {
		if i == runs/3 {
			leader, err := l.leader(ctx)
			if err != nil {
				return "", err
			}
			if err := l.stopNode(ctx, leader, syscall.SIGKILL); err != nil {
				return "", err
			}
		}
		gate <- struct{}{}
		wg.Go(func() {
			id, err := l.mixedOnce(ctx, hold{step, step})
			<-gate
			mu.Lock()
			defer mu.Unlock()
			var run *limpet.RunError
			switch {
			case errors.As(err, &run):
				failed = append(failed, run)
			case err != nil:
				errs = append(errs, err)
			default:
				share[names[id]]++
			}
		})
	}
	wg.Wait()
	dropped, err := l.excuse(failed)
	errs = append(errs, err)
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %d", name, share[name]))
		if share[name] == 0 {
			errs = append(errs, fmt.Errorf("%s got no run", name))
		}
	}
	slices.Sort(parts)
	if dropped > 0 {
		parts = append(parts, fmt.Sprintf("and %d ended by their timeout, as the Python SDK dropped their completion", dropped))
	}
	return fmt.Sprintf("%d HARD runs of two tasks, leader killed in between: each on one worker: %s", runs, strings.Join(parts, ", ")), errors.Join(errs...)
}

// pythonReport is what the Python worker wrote down about one of its reports;
// see tests/sdk/python/reports.py.
type pythonReport struct {
	Event   string `json:"event"`
	Run     string `json:"run"`
	TaskRun string `json:"task_run"`
}

// excuse counts the failed runs whose completion the Python SDK dropped before
// any node had acknowledged it: they end by their execution timeout, and no
// server can prevent it. Every other failure is an error.
func (l *lab) excuse(failed []*limpet.RunError) (dropped int, err error) {
	reports, err := readPythonReports(l.pythonReports())
	if err != nil {
		return 0, err
	}
	acknowledged := map[string]bool{}
	for _, r := range reports {
		acknowledged[r.TaskRun] = acknowledged[r.TaskRun] || r.Event == "acknowledged"
	}
	lost := map[string]bool{}
	for _, r := range reports {
		lost[r.Run] = lost[r.Run] || r.Event == "dropped" && !acknowledged[r.TaskRun]
	}
	var errs []error
	for _, f := range failed {
		if lost[f.RunID] && strings.HasPrefix(f.Message, "TIMED_OUT") {
			dropped++
		} else {
			errs = append(errs, f)
		}
	}
	return dropped, errors.Join(errs...)
}

func (l *lab) pythonReports() string { return filepath.Join(l.dir, "reports-python") }

func readPythonReports(dir string) ([]pythonReport, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("reports of the Python worker: %w", err)
	}
	var out []pythonReport
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reports of the Python worker: %w", err)
		}
		for text := range bytes.Lines(raw) {
			var r pythonReport
			if json.Unmarshal(text, &r) == nil { // a last line may be half written
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// startMixed starts a worker of each SDK.
func (l *lab) startMixed() error {
	const sdks, python = "tests/sdk", ".cache/venv/bin/python"
	ts, err := filepath.Abs(filepath.Join(sdks, "typescript"))
	if err != nil {
		return fmt.Errorf("find %s: %w", sdks, err)
	}
	py, err := filepath.Abs(python)
	if err != nil {
		return fmt.Errorf("find %s: %w", python, err)
	}
	for _, need := range []string{filepath.Join(ts, "node_modules"), py} {
		if _, err := os.Stat(need); err != nil {
			return fmt.Errorf("%s is missing: `make sdk-test` installs it", need)
		}
	}
	if _, err := l.startWorker("sdk", "go-direct", "", 10); err != nil {
		return err
	}
	node := []string{
		"agent", "--data-dir", l.dir + "/agent-ts", "--identity", "ts-1", "--addr", strings.Join(l.addrs(), ","), "--token", l.token,
		"--", "node", "--import", filepath.Join(ts, "node_modules/tsx/dist/esm/index.mjs"), filepath.Join(ts, "src/mixed.ts"), "ts-agent",
	}
	if _, err := l.spawn("ts-agent.log", nil, l.bin, node...); err != nil {
		return err
	}
	if err := os.MkdirAll(l.pythonReports(), 0o700); err != nil {
		return fmt.Errorf("reports of the Python worker: %w", err)
	}
	env := []string{
		"HATCHET_CLIENT_TOKEN=" + l.token, "HATCHET_CLIENT_TLS_STRATEGY=none", "HATCHET_CLIENT_HOST_PORT=ipv4:" + strings.Join(l.addrs(), ","),
	}
	if _, err := l.spawn("py-direct.log", env, py, filepath.Join(sdks, "python/mixed.py"), "py-direct", l.pythonReports()); err != nil {
		return err
	}
	return nil
}

func (l *lab) mixedOnce(ctx context.Context, in hold) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	res, err := l.flows.both.Run(ctx, in)
	if err != nil {
		return "", err
	}
	var first, second ran
	if err := errors.Join(res.Into("first", &first), res.Into("second", &second)); err != nil {
		return "", err
	}
	if first.Worker != second.Worker || first.Worker == "" {
		return "", fmt.Errorf("HARD run %s was at %q and at %q", res.RunID, first.Worker, second.Worker)
	}
	return first.Worker, nil
}
