package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// line is one thing that a worker wrote down about itself.
type line struct {
	At      time.Time
	Kind    string // begin, end or cut
	Worker  string // id
	Name    string
	Pid     int
	Run     string
	TaskRun string
	Task    string
	Attempt int32
}

// notebook is a worker's own file.
type notebook struct {
	mu sync.Mutex
	f  *os.File
}

func openNotebook(dir, name string) (*notebook, error) {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s-%d.jsonl", name, os.Getpid())), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return &notebook{f: f}, nil
}

func (n *notebook) write(e line) {
	if n == nil {
		return
	}
	e.At, e.Pid = time.Now(), os.Getpid()
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = n.f.Write(append(raw, '\n')) // a full disk shows as missing evidence
}

// evidence is what all workers wrote, as it comes.
type evidence struct {
	dir  string
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	lines []line
	read  map[string]int64 // bytes by file
}

const readEvery = 5 * time.Millisecond

func watchEvidence(dir string) (*evidence, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	e := &evidence{dir: dir, stop: make(chan struct{}), done: make(chan struct{}), read: map[string]int64{}}
	go func() {
		defer close(e.done)
		for {
			e.update()
			select {
			case <-e.stop:
				return
			case <-time.After(readEvery):
			}
		}
	}()
	return e, nil
}

func (e *evidence) close() {
	close(e.stop)
	<-e.done
}

func (e *evidence) update() {
	files, _ := os.ReadDir(e.dir)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, entry := range files {
		info, err := entry.Info()
		at := e.read[entry.Name()]
		if err != nil || info.Size() <= at {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(e.dir, entry.Name()))
		if err != nil {
			continue
		}
		whole := bytes.LastIndexByte(raw, '\n') + 1
		for text := range bytes.Lines(raw[at:whole]) {
			var l line
			if json.Unmarshal(text, &l) == nil {
				e.lines = append(e.lines, l)
			}
		}
		e.read[entry.Name()] = int64(whole)
	}
}

// all gives the lines that fit.
func (e *evidence) all(fits func(line) bool) []line {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []line
	for _, l := range e.lines {
		if fits(l) {
			out = append(out, l)
		}
	}
	return out
}

// await gives the first line that fits.
func (e *evidence) await(ctx context.Context, patience time.Duration, what string, fits func(line) bool) (line, error) {
	limit, from := time.Now().Add(patience), 0
	for {
		e.mu.Lock()
		for ; from < len(e.lines); from++ {
			if l := e.lines[from]; fits(l) {
				e.mu.Unlock()
				return l, nil
			}
		}
		e.mu.Unlock()
		if time.Now().After(limit) {
			return line{}, fmt.Errorf("waited %s for %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return line{}, fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(readEvery):
		}
	}
}

func (e *evidence) begun(ctx context.Context, patience time.Duration, run string, attempt int32) (line, error) {
	return e.await(ctx, patience, fmt.Sprintf("attempt %d of run %s", attempt, run), func(l line) bool {
		return l.Kind == "begin" && l.Run == run && l.Attempt >= attempt
	})
}
