package bench

import (
	"strings"
	"testing"
	"time"
)

func good() Options {
	return Options{Workers: 1, Duration: time.Second, Outstanding: 1, Sticky: "none"}
}

func TestOptionsThatAreNotAllowedAreNamed(t *testing.T) {
	ok := good()
	if err := ok.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Workers = 0 }, `--workers is "0": must be 1 to 100000`},
		{func(o *Options) { o.Workers = 100_001 }, `--workers is "100001": must be 1 to 100000`},
		{func(o *Options) { o.Payload = -1 }, `--payload is "-1": must be 0 to 3145728 bytes`},
		{func(o *Options) { o.Duration = 0 }, `--duration is "0s": must be more than 0s`},
		{func(o *Options) { o.Warmup = -time.Second }, `--warmup is "-1s": must be 0s or more`},
		{func(o *Options) { o.Runs = -1 }, `--runs is "-1"`},
		{func(o *Options) { o.Outstanding = 100_001 }, `--outstanding is "100001": must be 1 to 100000`},
		{func(o *Options) { o.Sticky = "firm" }, `--sticky is "firm": must be none, soft or hard`},
	} {
		o := good()
		c.change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

func TestWorkloadsNameTheirOwnOptions(t *testing.T) {
	o := good()
	for _, c := range []struct {
		run  func() (*Result, error)
		want string
	}{
		{func() (*Result, error) { return Bulk(t.Context(), &o, 0) }, `--batch is "0": must be 1 to 1000`},
		{func() (*Result, error) { return Latency(t.Context(), &o, 0) }, `--rate is "0"`},
		{func() (*Result, error) { return Fanout(t.Context(), &o, 1001) }, `--children is "1001"`},
		{func() (*Result, error) { return Backlog(t.Context(), &o, BacklogPlan{Absent: 1}) }, `--parked is ""`},
		{func() (*Result, error) {
			return Backlog(t.Context(), &o, BacklogPlan{Parked: []int{0, 5, 5}, Absent: 1})
		}, `--parked is "[0 5 5]"`},
		{func() (*Result, error) { return Backlog(t.Context(), &o, BacklogPlan{Parked: []int{0}}) }, `--absent is "0"`},
		{func() (*Result, error) {
			return Backlog(t.Context(), &o, BacklogPlan{Parked: []int{0, 1}, Absent: 1, Turns: -1})
		}, `--turns is "-1": must be 0 (no turns) to 1000`},
		{func() (*Result, error) {
			return Backlog(t.Context(), &o, BacklogPlan{Parked: []int{0, 1}, Absent: 1, Turns: 1})
		}, `--turns is "1": must be 0, unless with --self-cluster`},
		{func() (*Result, error) { return Workers(t.Context(), &o, []int{0}) }, `--counts is "[0]"`},
		{func() (*Result, error) { return Failover(t.Context(), &o, nil, FailoverPlan{}) }, `--self-cluster is "0": must be 3 or 5`},
		{func() (*Result, error) { return Overload(t.Context(), &o, OverloadPlan{Factor: 1}) }, `--factor is "1"`},
	} {
		if _, err := c.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

func TestInputHasItsSize(t *testing.T) {
	for _, n := range []int{0, 8, 9, 10, 1024} {
		o := &Options{Payload: n}
		if got := len(o.input()); n > 8 && got != n || n <= 8 && o.input() != "{}" {
			t.Errorf("input of %d bytes is %q", n, o.input())
		}
	}
}
