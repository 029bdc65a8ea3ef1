package benchcmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/limpet-dev/limpet/bench"
)

// Comparison is two targets measured in turns.
type Comparison struct {
	A       string          `json:"a"`
	B       string          `json:"b"`
	Results []*bench.Result `json:"results"` // a, b, b, a, a, b, ...
	// Ratios are B/A of each turn: above 1 B has more.
	Ratios map[string]Ratio `json:"ratios"`
}

// Ratio sums up a figure over the turns.
type Ratio struct {
	Min    float64   `json:"min"`
	Median float64   `json:"median"`
	Max    float64   `json:"max"`
	All    []float64 `json:"all"`
}

// runCompare keeps both targets up and loads one after the other, so that what
// else the machine does falls on both.
func (c *command) runCompare(ctx context.Context, measure measurement, a, b string) error {
	const most = 1000
	if c.rounds < 1 || c.rounds > most {
		return &bench.OptionError{Option: "rounds", Got: fmt.Sprint(c.rounds), Want: fmt.Sprintf("1 to %d", most)}
	}
	tokenB := c.env.Token
	if c.tokenB != "" {
		tokenB = func() (string, error) { return c.tokenB, nil }
	}
	ta, err := c.open(ctx, a, c.env.Token)
	if err != nil {
		return err
	}
	defer ta.close()
	tb, err := c.open(ctx, b, tokenB)
	if err != nil {
		return err
	}
	defer tb.close()
	out := &Comparison{A: ta.Name, B: tb.Name}
	for round := range c.rounds {
		turn := []*target{ta, tb}
		if round%2 == 1 { // who goes second may find a warmer machine
			slices.Reverse(turn)
		}
		for _, t := range turn {
			r, err := c.measureOpen(ctx, measure, t)
			if err != nil {
				return err
			}
			r.Params["round"] = round + 1
			out.Results = append(out.Results, r)
			if c.csv != "" {
				if err := appendCSV(c.csv, r); err != nil {
					return err
				}
			}
		}
	}
	out.ratios()
	if c.env.JSON() {
		return writeJSON(c.env.Out, out)
	}
	return out.print(c)
}

// figures that are compared.
func compared() map[string]func(*bench.Result) float64 {
	return map[string]func(*bench.Result) float64{
		"runs_per_second":                 func(r *bench.Result) float64 { return r.RunsPerSecond },
		"p50_ms":                          func(r *bench.Result) float64 { return r.P50 },
		"p99_ms":                          func(r *bench.Result) float64 { return r.P99 },
		"nodes_cpu_seconds_per_1000_runs": func(r *bench.Result) float64 { return r.NodesCPU },
	}
}

func (c *Comparison) ratios() {
	c.Ratios = map[string]Ratio{}
	for name, of := range compared() {
		var r Ratio
		for i := 0; i+1 < len(c.Results); i += 2 {
			a, b := c.Results[i], c.Results[i+1]
			if i/2%2 == 1 {
				a, b = b, a
			}
			if of(a) > 0 {
				r.All = append(r.All, of(b)/of(a))
			}
		}
		if len(r.All) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(r.All))
		r.Min, r.Max = sorted[0], sorted[len(sorted)-1]
		r.Median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
		c.Ratios[name] = r
	}
}

func (c *Comparison) print(cmd *command) error {
	for i, r := range c.Results {
		side := "A"
		if (i%2 == 1) != (i/2%2 == 1) {
			side = "B"
		}
		fmt.Fprintf(cmd.env.Out, "%s  %8.0f runs/s  p50 %.2f ms  p99 %.2f ms\n", side, r.RunsPerSecond, r.P50, r.P99)
	}
	fmt.Fprintf(cmd.env.Out, "A is %s, B is %s; ratios B/A of %d turns: median [min, max]\n", c.A, c.B, len(c.Results)/2)
	for _, name := range []string{"runs_per_second", "p50_ms", "p99_ms", "nodes_cpu_seconds_per_1000_runs"} {
		if r, ok := c.Ratios[name]; ok {
			fmt.Fprintf(cmd.env.Out, "  %-32s %.2f [%.2f, %.2f]\n", name, r.Median, r.Min, r.Max)
		}
	}
	return nil
}
