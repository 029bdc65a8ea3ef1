package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	limpet "github.com/limpet-dev/limpet/client"
	"github.com/limpet-dev/limpet/faults/history"
)

// WorkerConfig is a process of workers.
type WorkerConfig struct {
	// Name and a number name each worker; Count is how many there are.
	Name  string
	Count int
	Slots int
	// Evidence is the directory that the process writes down in what it executes.
	Evidence string
	// Identities: each worker is the one of its name again when it is started
	// again.
	Identities bool
}

// note is a line of a worker's own file: an event, with a clock that all
// processes of the machine share.
type note struct {
	Wall time.Time `json:"wall"`
	history.Event
}

// notebook is the file of a process. Every line is on the disk before what it
// tells of goes on.
type notebook struct {
	incarnation string
	slots       int

	mu    sync.Mutex
	f     *os.File
	known map[string]bool
}

func openNotebook(dir, name string, slots int) (*notebook, error) {
	start := strconv.FormatInt(time.Now().UnixNano(), 36)
	f, err := os.OpenFile(filepath.Join(dir, name+"-"+start+".jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return &notebook{incarnation: start, slots: slots, f: f, known: map[string]bool{}}, nil
}

// begin notes the beginning of a body, and before the first of a worker the worker.
func (n *notebook) begin(e history.Event, name string) {
	n.mu.Lock()
	first := !n.known[e.Worker]
	n.known[e.Worker] = true
	n.mu.Unlock()
	if first {
		n.write(history.Event{Kind: history.WorkerStart, Worker: e.Worker, Slots: n.slots, Detail: name})
	}
	n.write(e)
}

func (n *notebook) write(e history.Event) {
	e.Incarnation = n.incarnation
	raw, err := json.Marshal(note{time.Now(), e})
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err = n.f.Write(append(raw, '\n'))
	if err = errors.Join(err, n.f.Sync()); err != nil {
		fmt.Fprintln(os.Stderr, "evidence:", err)
	}
}

// WorkerMain runs the workers of one process until ctx ends.
func WorkerMain(ctx context.Context, cfg WorkerConfig) error {
	notes, err := openNotebook(cfg.Evidence, cfg.Name, cfg.Slots)
	if err != nil {
		return err
	}
	agent := os.Getenv("LIMPET_AGENT") != ""
	c, err := limpet.New(limpet.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	flows := declare(c, notes)
	var wg sync.WaitGroup
	errs := make([]error, cfg.Count)
	for i := range cfg.Count {
		name := cfg.Name + "." + strconv.Itoa(i+1)
		opts := []limpet.WorkerOption{
			limpet.WithWorkflows(flows.all()...), limpet.WithSlots(int32(cfg.Slots)), //nolint:gosec // our own figure
			limpet.WithDrainTimeout(10 * time.Second),
		}
		if agent || !cfg.Identities { // the agent has the identity, and gossips; other SDKs have neither
			opts = append(opts, limpet.WithoutGossip())
		} else {
			opts = append(opts, limpet.WithIdentity(name))
		}
		w, err := limpet.NewWorker(c, name, opts...)
		if err != nil {
			return err
		}
		wg.Go(func() { errs[i] = serve(ctx, c, w, name, opts) })
	}
	wg.Wait()
	return errors.Join(append(errs, c.Close())...)
}

// serve runs a worker, as a new one if it was fenced or refused.
func serve(ctx context.Context, c *limpet.Client, w *limpet.Worker, name string, opts []limpet.WorkerOption) error {
	for {
		err := w.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		fmt.Fprintf(os.Stderr, "worker %s ended: %v; it starts anew\n", name, err)
		_ = sleep(ctx, time.Second)
		if w, err = limpet.NewWorker(c, name, opts...); err != nil {
			return err
		}
	}
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// readEvidence gives what all workers wrote down.
func readEvidence(dir string, into *history.Recorder) (bodies int, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return 0, fmt.Errorf("evidence: %w", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return 0, fmt.Errorf("evidence: %w", err)
		}
		dec := json.NewDecoder(f)
		for {
			var n note
			if dec.Decode(&n) != nil {
				break // the end, or a torn line
			}
			if n.Kind == history.Begin {
				bodies++
			}
			into.AddAt(n.Wall, n.Event)
		}
		_ = f.Close()
	}
	return bodies, nil
}
