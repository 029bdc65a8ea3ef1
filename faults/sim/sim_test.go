package sim_test

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
	"github.com/limpet-dev/limpet/faults/sim"
)

var (
	seeds  = flag.Int("seeds", 10, "how many scenarios to play")
	from   = flag.Uint64("from", 1, "the first seed")
	times  = flag.Int("times", 1, "how many seeds each named scenario is played with")
	repeat = flag.Int("repeat", 1, "how often each scenario is played: a seed is not repeated exactly")
	bound  = flag.Duration("bound", 0, "begin no scenario after this time; 0 for no bound")
	beside = flag.Int("beside", 2, "how many scenarios are played at a time")
	dump   = flag.String("dump", "", "write the history of failed scenarios into this folder")
	shrink = flag.Int("shrink", 0, "how many plays may be spent on a shorter script of a failed scenario")
	nodes  = flag.Bool("nodes", false, "show the logs of the nodes")
)

// play plays one seed in a bubble of its own.
func play(t *testing.T, p *sim.Plan) (out *sim.Outcome) {
	t.Helper()
	var log io.Writer
	if *nodes {
		log = os.Stderr
	}
	synctest.Test(t, func(*testing.T) { out = sim.Play(p, log) })
	return out
}

func TestScenarios(t *testing.T) {
	var next, played, virtual atomic.Int64
	began := time.Now()
	next.Store(int64(*from) - 1)
	seen := tally{}
	var lanes sync.WaitGroup
	for range *beside {
		lanes.Go(func() {
			for *bound == 0 || time.Since(began) < *bound {
				seed := uint64(next.Add(1))
				if seed >= *from+uint64(*seeds) {
					return
				}
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					p := sim.NewPlan(seed)
					out := play(t, p)
					for n := 1; n < *repeat && !out.Failed(); n++ {
						t.Run("again", func(t *testing.T) { out = play(t, p) })
					}
					played.Add(1)
					virtual.Add(int64(out.Virtual))
					seen.count(out.History)
					if out.Failed() {
						report(t, p, out)
					}
				})
			}
		})
	}
	done := make(chan struct{})
	go progress(t, done, &played, &virtual)
	lanes.Wait()
	close(done)
	took := time.Since(began)
	seen.log(t)
	t.Logf("%d scenarios from seed %d, %.1f virtual hours in %v: %.1f a second",
		played.Load(), *from, time.Duration(virtual.Load()).Hours(), took.Round(time.Second), float64(played.Load())/took.Seconds())
}

// Each named scenario, with the calls of a few seeds around it.
func TestNamedScenarios(t *testing.T) {
	for _, n := range sim.NamedPlans() {
		for seed := *from; seed < *from+uint64(*times); seed++ {
			t.Run(fmt.Sprintf("%s/%d", n.Name, seed), func(t *testing.T) {
				p := n.Plan(seed)
				out := play(t, p)
				if out.Failed() {
					report(t, p, out)
				}
				finals := 0
				for _, e := range out.History {
					if e.Kind == history.RunFinal {
						finals++
					}
				}
				if finals == 0 {
					t.Error("no run has ended: nothing was shown")
				}
			})
		}
	}
}

// progress prints now and then how far a long series has come.
func progress(t *testing.T, done <-chan struct{}, played, virtual *atomic.Int64) {
	t.Helper()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			fmt.Printf("%d scenarios from seed %d, %.1f virtual hours, failed: %v\n",
				played.Load(), *from, time.Duration(virtual.Load()).Hours(), t.Failed())
		}
	}
}

func report(t *testing.T, p *sim.Plan, out *sim.Outcome) {
	t.Helper()
	for i, v := range out.Violations {
		if i == 8 {
			t.Errorf("and %d more", len(out.Violations)-i)
			break
		}
		t.Error(v)
	}
	t.Logf("the script:\n%v", p)
	if *shrink > 0 {
		short := sim.Shrink(p, func(q *sim.Plan) (failed bool) {
			t.Run("shorter", func(t *testing.T) { failed = play(t, q).Failed() })
			return failed
		}, *shrink)
		t.Logf("a shorter script that fails too, at least once:\n%v", short)
	}
	if *dump == "" {
		return
	}
	name := fmt.Sprintf("%s/seed-%d.jsonl", *dump, p.Seed)
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := history.Write(f, out.History); err != nil {
		t.Fatal(err)
	}
	t.Logf("the history is in %s", name)
}

// tally counts what happened in all scenarios: a bed in which little happens
// shows little.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) count(h history.History) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	for _, e := range h {
		switch {
		case e.Kind == history.FaultBegin:
			c.counts["fault "+e.Cause]++
		case e.Kind == history.Lease && e.Status == history.LeaseLost:
			c.counts["leases lost"]++
		case e.Kind == history.Pinned:
			c.counts["pin "+e.Cause]++
		case e.Kind == history.Assigned && e.Strategy != "":
			c.counts["assignment "+e.Cause]++
		case e.Kind == history.Fired:
			what, _, _ := strings.Cut(e.Cause, " (")
			c.counts[what]++
		case e.Kind == history.Reported && e.Status == history.Fenced:
			c.counts["fenced reports"]++
		case e.Kind == history.RunFinal:
			c.counts["runs "+e.Status]++
		case e.Kind == history.OK || e.Kind == history.Unknown || e.Kind == history.Refused:
			c.counts[string(e.Kind)+" "+e.Op]++
		case e.Kind == history.Reported && e.Op == history.OpStarted && e.Status == history.Accepted:
			c.counts["starts accepted"]++
		case e.Kind == history.Leader, e.Kind == history.Delivered, e.Kind == history.Begin, e.Kind == history.Begun, e.Kind == history.Cut, e.Kind == history.Restored:
			c.counts[string(e.Kind)]++
		}
	}
}

func (c *tally) log(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		t.Logf("%8d %s", c.counts[what], what)
	}
}
