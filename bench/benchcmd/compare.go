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
	Ratios map[string]bench.Ratio `json:"ratios"`
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
	out.Ratios = bench.Ratios(out.sides())
	if c.env.JSON() {
		return writeJSON(c.env.Out, out)
	}
	return out.print(c)
}

// sides are the figures of either target, by turn.
func (c *Comparison) sides() (a, b []*bench.Figures) {
	for i := 0; i+1 < len(c.Results); i += 2 {
		first, second := &c.Results[i].Figures, &c.Results[i+1].Figures
		if i/2%2 == 1 {
			first, second = second, first
		}
		a, b = append(a, first), append(b, second)
	}
	return a, b
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
	for _, name := range bench.Compared() {
		if r, ok := c.Ratios[name]; ok {
			fmt.Fprintf(cmd.env.Out, "  %-32s %.2f [%.2f, %.2f]\n", name, r.Median, r.Min, r.Max)
		}
	}
	return nil
}
