package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/fsm"
)

// do plays one step, to its end.
func (w *world) do(s Step) {
	if call, ok := w.calls()[s.Do]; ok {
		call(s)
		return
	}
	begin, end := w.fault(s)
	if begin == nil {
		return
	}
	e := history.Event{Kind: history.FaultBegin, Cause: string(s.Do), Detail: strings.TrimSpace(s.String())}
	w.rec.Add(e)
	begin()
	if end != nil {
		_ = pause(w.ctx, s.For)
		end()
	}
	e.Kind = history.FaultEnd
	w.rec.Add(e)
}

func (w *world) calls() map[Act]func(Step) {
	host := fmt.Sprintf("c%d", 1+w.pick(3))
	c := w.clients
	onSome := func(call func(context.Context, string, string)) func(Step) {
		return func(Step) {
			if run := c.some(); run != "" {
				call(w.ctx, host, run)
			}
		}
	}
	mode := func(mode limpetv1.WorkerMode) func(Step) {
		return func(s Step) {
			for _, k := range w.workers {
				if k.host != s.Who[0] {
					continue
				}
				id := k.id()
				if id == "" {
					return
				}
				c.mode(w.ctx, host, id, mode)
				_ = pause(w.ctx, s.For)
				c.mode(w.ctx, host, id, limpetv1.WorkerMode_WORKER_MODE_ACTIVE)
			}
		}
	}
	return map[Act]func(Step){
		Trigger: func(s Step) {
			run, ok := c.trigger(w.ctx, host, s.Who[0], "", "", "")
			if ok && w.chance(0.8) {
				c.subscribe(host, run)
			}
			if ok && w.chance(0.3) {
				c.read(w.ctx, host, run)
			}
		},
		Push: func(s Step) { c.event(w.ctx, host, s.Who[0]) },
		Read: onSome(c.read), Cancel: onSome(c.cancel), Replay: onSome(c.replay), Release: onSome(c.release),
		Drain: mode(limpetv1.WorkerMode_WORKER_MODE_DRAINING), Pause: mode(limpetv1.WorkerMode_WORKER_MODE_PAUSED),
	}
}

// id is the worker's, as its program knows it; empty while it does not.
func (k *worker) id() string {
	k.mu.Lock()
	in := k.life
	k.mu.Unlock()
	if in == nil {
		return ""
	}
	return in.workerID()
}

// both are the ways between every host of one list and every one of the other.
func both(a, b []string) []way { return append(ways(a, b), ways(b, a)...) }

func ways(from, to []string) []way {
	var out []way
	for _, f := range from {
		for _, t := range to {
			if f != t {
				out = append(out, way{f, t})
			}
		}
	}
	return out
}

// others are the nodes that are not in the list.
func (w *world) others(list ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for name := range w.disks {
		if !slices.Contains(list, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// leader is the node that leads, by its own word.
func (w *world) leader() string {
	for _, name := range w.others() {
		if p := w.proc(name); p != nil && p.node.Leading() {
			return name
		}
	}
	return ""
}

// fault says how a fault begins and how it ends; no end if it does not last.
func (w *world) fault(s Step) (begin, end func()) {
	if strings.HasPrefix(string(s.Do), "worker-") {
		return w.workerFault(s)
	}
	lead := func(do func(string) (func(), func())) (func(), func()) {
		if l := w.leader(); l != "" {
			return do(l)
		}
		return nil, nil
	}
	cut := func(list []way) (func(), func()) {
		return func() { w.net.cut(list) }, func() { w.net.heal(list) }
	}
	crash := func(names ...string) (func(), func()) {
		return func() {
				for _, n := range names {
					w.crash(n, s.Keep)
				}
			}, func() {
				for _, n := range names {
					w.revive(n)
				}
			}
	}
	switch s.Do {
	case Split:
		return cut(both(s.Who, w.others(s.Who...)))
	case OneWay:
		return cut(ways(s.Who, w.others(s.Who...)))
	case Bridge:
		rest := w.others(s.Who...)
		return cut(ways(rest, rest))
	case Alone:
		return lead(func(l string) (func(), func()) { return cut(both([]string{l}, w.others(l))) })
	case Weather:
		all := w.others()
		return func() {
			w.net.spoil(ways(all, all), &weather{delay: s.By / 4, jitter: s.By, loss: 0.1, repeat: 0.1})
		}, func() { w.net.spoil(ways(all, all), nil) }
	case Crash:
		return crash(s.Who...)
	case CrashAll:
		return crash(w.others()...)
	case CrashLead:
		return lead(func(l string) (func(), func()) { return crash(l) })
	case Restart:
		return func() { w.stop(s.Who[0]) }, func() { w.revive(s.Who[0]) }
	default:
		return w.nodeFault(s)
	}
}

// nodeFault are the faults of one node that goes on.
func (w *world) nodeFault(s Step) (begin, end func()) {
	disk := func(t trouble) func() {
		return func() {
			w.tap.disksSlow()
			w.mu.Lock()
			d := w.disks[s.Who[0]]
			w.mu.Unlock()
			d.trouble(t)
		}
	}
	mend := disk(trouble{})
	fine := func() {
		mend()
		w.revive(s.Who[0]) // it may have given up
	}
	switch s.Do {
	case Freeze:
		list := both(s.Who, append(w.others(s.Who...), w.outside()...))
		still := disk(trouble{delay: s.For})
		return func() { w.net.cut(list); still() }, func() { w.net.heal(list); fine() }
	case SlowDisk:
		return disk(trouble{delay: s.By}), fine
	case FullDisk:
		return disk(trouble{full: true}), fine
	case FickleDisk:
		return disk(trouble{fickle: rand.New(rand.NewPCG(uint64(s.By), 0))}), fine //nolint:gosec // a seed
	case ClockJump:
		return func() { w.tap.setClock(s.Who[0], s.By, 0) }, nil
	case ClockDrift:
		return func() { w.tap.setClock(s.Who[0], 0, s.By.Seconds()) }, nil
	case Join:
		return func() { w.revive(fmt.Sprintf("n%d", len(w.others())+1)) }, nil
	case Transfer:
		return func() {
			if p := w.proc(w.leader()); p != nil {
				ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
				defer cancel()
				_ = p.node.TransferLeadership(ctx)
			}
		}, nil
	default:
		w.fail("the script has an unknown step %q", s.Do)
		return nil, nil
	}
}

// outside are the hosts that are no nodes.
func (w *world) outside() []string {
	out := []string{"c1", "c2", "c3"}
	for _, k := range w.workers {
		out = append(out, k.host)
	}
	return out
}

func (w *world) workerFault(s Step) (begin, end func()) {
	for _, k := range w.workers {
		if k.host != s.Who[0] {
			continue
		}
		switch s.Do {
		case WorkerCrash:
			return k.crash, k.boot
		case WorkerFreeze:
			return func() { k.freeze(true) }, func() { k.freeze(false) }
		case WorkerZombie:
			return k.supplant, func() { k.freeze(false) }
		default:
			list := both(s.Who[:1], s.Who[1:])
			return func() { w.net.cut(list) }, func() { w.net.heal(list) }
		}
	}
	return nil, nil
}

// revive starts a node, unless its disk does not let it: whoever mends that starts
// it then.
func (w *world) revive(name string) {
	if err := w.start(name); err != nil && w.ctx.Err() == nil && !errors.Is(err, cluster.ErrDisk) {
		w.fail("%v", err)
	}
}

// settled says what has not come to its end yet, or nothing.
func (w *world) settled() string {
	var seq fsm.Seq
	for i, name := range w.others() {
		p := w.proc(name)
		if p == nil {
			return name + " is down"
		}
		if ok, why := p.node.Ready(); !ok {
			return name + ": " + why
		}
		v := p.node.View()
		for r := range v.Runs(true) {
			if !r.Status.Final() {
				return "run " + string(r.ID) + " is " + r.Status.String()
			}
		}
		if i == 0 {
			seq = v.Seq()
		} else if v.Seq() != seq {
			return "the nodes have applied different entries"
		}
	}
	return ""
}
