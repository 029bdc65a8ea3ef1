package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/limpet-dev/limpet/bench"
)

// Results are measurements by workload; those of one workload in the order of
// what they had in flight.
type Results map[string][]*bench.Result

// Load reads all results of a directory.
func Load(dir string) (Results, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("results in %s: %w", dir, err)
	}
	out := Results{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a result: %w", err)
		}
		r := &bench.Result{}
		if err := json.Unmarshal(raw, r); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if r.Workload != "" { // a comparison has none
			out[r.Workload] = append(out[r.Workload], r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no results: run `limpet bench WORKLOAD -o json` into it, or scripts/bench.sh", dir)
	}
	for _, list := range out {
		slices.SortStableFunc(list, func(a, b *bench.Result) int {
			return cmp.Or(cmp.Compare(param(a, "batch"), param(b, "batch")), cmp.Compare(param(a, "outstanding"), param(b, "outstanding")),
				cmp.Compare(param(a, "rate"), param(b, "rate")))
		})
	}
	return out, nil
}

// param is a number among the parameters; 0 if it is absent.
func param(r *bench.Result, name string) float64 {
	v, ok := r.Params[name].(float64)
	if !ok {
		return 0
	}
	return v
}

// one is the result of a workload that is measured once.
func (r Results) one(workload string) *bench.Result {
	if list := r[workload]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// ceilingFor is the ceiling that was measured with the same batch.
func (r Results) ceilingFor(of *bench.Result) *bench.Result {
	batch := max(param(of, "batch"), 1)
	for _, c := range r["ceiling"] {
		if max(param(c, "batch"), 1) == batch {
			return c
		}
	}
	return nil
}

// WritePlots draws all that the results allow and gives the files' names.
func (r Results) WritePlots(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of the plots: %w", err)
	}
	var errs []error
	var names []string
	for _, p := range r.plots() {
		name := filepath.Join(dir, p.name)
		errs = append(errs, os.WriteFile(name, []byte(SVG(p.charts...)), 0o644))
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}
