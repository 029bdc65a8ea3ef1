package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/faults/linear"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	// formFor bounds the making of the cluster, and restFor the wait for the
	// end of all runs after the faults.
	formFor = 30 * time.Second
	restFor = 150 * time.Second
	// afterlife is how long memberlist's own goroutines live after their end.
	afterlife = 15 * time.Second
)

// Outcome is what a played scenario gave.
type Outcome struct {
	Violations []check.Violation
	History    history.History
	// Virtual is how long it took on the clock of the bubble.
	Virtual time.Duration
}

// Failed reports whether anything was violated.
func (o *Outcome) Failed() bool { return len(o.Violations) > 0 }

// Play plays a scenario and judges it. It must be called inside a synctest
// bubble. The nodes' logs go to log, unless it is nil.
func Play(p *Plan, log io.Writer) *Outcome {
	begin := time.Now()
	w := newWorld(p, log)
	w.play()
	h := w.rec.History()
	o := &Outcome{History: h, Virtual: time.Since(begin), Violations: check.Run(h)}
	reads, _ := linear.Reads(h)
	o.Violations = append(o.Violations, reads...)
	for _, text := range w.fatal {
		o.Violations = append(o.Violations, check.Violation{Invariant: "process", Text: text})
	}
	return o
}

func (w *world) play() {
	defer w.bringDown()
	for _, name := range w.founders {
		w.revive(name)
	}
	if !w.form() {
		w.fail("no cluster after %v", formFor)
		return
	}
	for i, p := range w.plan.Workers {
		k := &worker{world: w, host: fmt.Sprintf("w%d", i+1), slots: p.Slots}
		if p.Identity {
			k.identity = "place-" + k.host
		}
		w.workers = append(w.workers, k)
		k.boot()
	}
	start := time.Now()
	for _, s := range w.plan.Steps {
		_ = pause(w.ctx, s.At-time.Since(start))
		w.background.Go(func() { w.do(s) })
	}
	_ = pause(w.ctx, w.plan.Length-time.Since(start)+time.Second)
	w.heal()
	w.rest()
}

// form waits for a cluster and registers the workflows.
func (w *world) form() bool {
	ctx, cancel := context.WithTimeout(w.ctx, formFor)
	defer cancel()
	for _, f := range flows() {
		cmd, err := w.putWorkflow(f)
		if err != nil {
			w.fail("%v", err)
			return false
		}
		if _, err := w.proc("n1").node.Propose(ctx, cmd); err != nil {
			return false
		}
	}
	return true
}

// heal ends what is left of the faults.
func (w *world) heal() {
	w.net.clear()
	w.mu.Lock()
	for _, d := range w.disks {
		d.trouble(trouble{})
	}
	w.mu.Unlock()
	for _, name := range w.others() {
		w.revive(name)
	}
	for _, k := range w.workers {
		k.freeze(false)
		k.boot()
	}
	w.rec.Add(history.Event{Kind: history.Healed})
}

// rest waits for the end of everything and writes down what is kept.
func (w *world) rest() {
	end := time.Now().Add(restFor)
	why := ""
	for quiet := 0; quiet < 3 && time.Now().Before(end); {
		_ = pause(w.ctx, time.Second)
		if why = w.settled(); why == "" {
			quiet++
		} else {
			quiet = 0
		}
	}
	if why != "" {
		w.fail("no rest %v after the faults: %s", restFor, why)
	}
	w.rec.Add(history.Event{Kind: history.Rest, Detail: why})
	w.tap.compare(w)
	if p := w.proc("n1"); p != nil {
		w.keep(p.node.View())
	}
}

func (w *world) keep(v fsm.View) {
	for r := range v.Runs(false) {
		var input struct{ Call string }
		_ = json.Unmarshal(r.Input, &input) // runs of events have another input
		e := history.Event{Kind: history.Kept, Run: string(r.ID), Call: input.Call, Status: r.Status.String(), Output: outcome(v, r)}
		for _, id := range r.Tasks {
			if t, ok := v.TaskRun(id); ok && !t.Status.Final() {
				code, text := v.WaitReason(t)
				e.Detail = fmt.Sprintf("task run %s is %s: %s %s", id, t.Status, code, text)
			}
		}
		w.rec.Add(e)
	}
	for _, id := range w.clients.pushed() {
		if _, ok := v.Event(id); ok {
			w.rec.Add(history.Event{Kind: history.Kept, Detail: id})
		}
	}
}

// bringDown ends everything, so that no goroutine is left in the bubble.
func (w *world) bringDown() {
	w.stopAll()
	for range 2 { // what was being started is there after the first
		for _, name := range w.others() {
			w.crash(name, true)
		}
		w.background.Wait()
	}
	time.Sleep(afterlife)
}
