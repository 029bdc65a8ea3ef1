package ceiling_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/bench"
	"github.com/limpet-dev/limpet/bench/ceiling"
)

// serve runs a stub for the length of a test and gives its address.
func serve(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ceiling.Serve(ctx, w, dir) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func options(addr string) *bench.Options {
	return &bench.Options{
		Target: bench.Target{Name: "stub", Addrs: []string{addr}}, Workers: 2, Payload: 64, Sticky: "none", Runs: 60, Outstanding: 20, Duration: time.Minute,
	}
}

// Every workload of one-task runs must get all its results from a stub, or the
// client itself loses some.
func TestEveryRunOfTheClientEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		dir   string
		gzip  bool
		big   bool
		plain bool
		run   func(context.Context, *bench.Options) (*bench.Result, error)
	}{
		{"throughput", "", false, false, false, bench.Throughput},
		{"throughput by the ordinary client", "", false, false, true, bench.Throughput},
		{"large inputs", "", false, true, false, bench.Throughput},
		{"throughput with gzip", "", true, false, false, bench.Throughput},
		{"throughput with a log", t.TempDir(), false, false, false, bench.Throughput},
		{"bulk", "", false, true, false, func(ctx context.Context, o *bench.Options) (*bench.Result, error) { return bench.Bulk(ctx, o, 10) }},
		{"workers", "", false, false, false, func(ctx context.Context, o *bench.Options) (*bench.Result, error) {
			return bench.Workers(ctx, o, []int{1})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(serve(t, c.dir))
			o.Target.Gzip, o.Target.Plain = c.gzip, c.plain
			if c.big { // more than the windows of a connection hold
				o.Payload = 100_000
			}
			r, err := c.run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Runs != 60 || r.Failed != 0 || len(r.Errors) != 0 || r.RunsPerSecond <= 0 || r.P50 <= 0 || r.Max < r.P999 || r.P999 < r.P50 {
				t.Errorf("result is %+v", r.Figures)
			}
		})
	}
}

func TestAnOpenLoopCountsWhatWasDue(t *testing.T) {
	o := options(serve(t, ""))
	o.Duration = 500 * time.Millisecond
	r, err := bench.Latency(t.Context(), o, 200)
	if err != nil {
		t.Fatal(err)
	}
	if r.Runs != 100 || r.Extra["due_runs"] != 100 || r.Extra["unfinished_runs"] != 0 || r.Failed != 0 {
		t.Errorf("result is %+v", r.Figures)
	}
}

func TestTheLogCommitsWhatItIsGiven(t *testing.T) {
	l, err := ceiling.NewLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const callers, each = 20, 10
	errs := make(chan error, callers)
	for range callers {
		go func() {
			var err error
			for range each {
				if e := l.Commit(t.Context(), []byte("command")); e != nil {
					err = e
				}
			}
			errs <- err
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	commands, entries := l.Counts()
	if commands != callers*each || entries < 1 || entries > commands {
		t.Errorf("%d commands in %d entries, want %d in fewer", commands, entries, callers*each)
	}
}
