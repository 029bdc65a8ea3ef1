package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// world is one scenario while it is played.
type world struct {
	plan     *Plan
	founders []string
	rec      *history.Recorder
	net      *network
	tap      *tap
	log      io.Writer
	ctx      context.Context //nolint:containedctx // ends with the scenario
	stopAll  context.CancelFunc

	mu    sync.Mutex
	procs map[string]*process
	disks map[string]*disk
	turns map[string]chan struct{}
	rng   *rand.Rand
	fatal []string

	workers    []*worker
	clients    *clients
	background sync.WaitGroup
}

func newWorld(p *Plan, log io.Writer) *world {
	w := &world{
		plan: p, rec: history.NewRecorder(nil), log: log, procs: map[string]*process{}, disks: map[string]*disk{}, turns: map[string]chan struct{}{},
		rng: rand.New(rand.NewPCG(p.Seed, 1)), net: newNetwork(rand.New(rand.NewPCG(p.Seed, 2))),
	}
	for i := range p.Nodes {
		w.founders = append(w.founders, fmt.Sprintf("n%d", i+1))
	}
	w.ctx, w.stopAll = context.WithCancel(context.Background())
	w.tap = newTap(w.rec)
	w.clients = &clients{world: w, waiting: map[string]bool{}}
	return w
}

// fail notes what must never happen and no checker looks for.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fatal = append(w.fatal, fmt.Sprintf(format, args...))
}

// chance, between and pick draw from the scenario's numbers.
func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

func (w *world) between(low, high time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

func (w *world) pick(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// uuid makes an id as nodes mint them.
func (w *world) uuid() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, b := w.rng.Uint64(), w.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", uint32(a), uint16(a>>32), uint16(a>>48)&0xfff, uint16(b>>48)&0xfff, b&(1<<48-1))
}

// anyNode is a node to call: mostly one that is up.
func (w *world) anyNode() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var up []string
	for _, n := range w.founders {
		if w.procs[n] != nil {
			up = append(up, n)
		}
	}
	if len(up) == 0 || w.rng.Float64() < 0.1 {
		up = w.founders
	}
	return up[w.rng.IntN(len(up))]
}

var errDown = errors.New("the node is down")

// call does something at a node on behalf of a host: there and back over the
// network. An error after the way there leaves open whether it was done.
func (w *world) call(ctx context.Context, from, node string, do func(context.Context, *process) error) error {
	if err := w.net.cross(ctx, way{from, node}); err != nil {
		return err
	}
	p := w.proc(node)
	if p == nil || !p.enter() {
		return errDown
	}
	inside, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	err := do(inside, p)
	p.leave()
	if p.life.Err() != nil {
		return errDown
	}
	if back := w.net.cross(ctx, way{node, from}); back != nil {
		return back
	}
	return err
}
