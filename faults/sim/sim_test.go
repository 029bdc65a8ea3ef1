package sim_test

import (
	"flag"
	"fmt"
	"io"
	"os"
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
					played.Add(1)
					virtual.Add(int64(out.Virtual))
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
	t.Logf("%d scenarios from seed %d, %.1f virtual hours in %v: %.1f a second",
		played.Load(), *from, time.Duration(virtual.Load()).Hours(), took.Round(time.Second), float64(played.Load())/took.Seconds())
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
