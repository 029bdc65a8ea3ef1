package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // in build events, in place of Package
	Test        string
	Output      string
	Elapsed     json.Number // seconds
	FailedBuild string
}

// report follows the packages, which may be mixed with one another.
type report struct {
	out      io.Writer
	packages map[string]*results
	builds   map[string]*strings.Builder // compilers' output
	total    counts
	skipped  []string
	failed   []string
}

// results of one package.
type results struct {
	tests  map[string]*test
	output strings.Builder // of no test
}

// test is one test; those with subtests only count when they fail alone.
type test struct {
	output   strings.Builder
	verdict  string // pass, fail, skip, or "" while it runs
	subtests bool
	blamed   bool // a subtest has failed
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: map[string]*results{}, builds: map[string]*strings.Builder{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			var e event
			if json.Unmarshal(text, &e) == nil && e.Action != "" {
				r.take(e)
			} else {
				fmt.Fprintf(r.out, "%s\n", text) // go's own words
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	if e.Action == "build-output" || e.Action == "build-fail" {
		if r.builds[e.ImportPath] == nil {
			r.builds[e.ImportPath] = &strings.Builder{}
		}
		r.builds[e.ImportPath].WriteString(e.Output)
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &results{tests: map[string]*test{}}
		r.packages[e.Package] = p
	}
	if e.Test == "" {
		r.takePackage(p, e)
		return
	}
	t := p.tests[e.Test]
	if t == nil {
		t = &test{}
		p.tests[e.Test] = t
		if up := p.parent(e.Test); up != nil {
			up.subtests = true
		}
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.verdict = e.Action
		if up := p.parent(e.Test); up != nil && e.Action == "fail" {
			up.blamed = true
		}
		if e.Action == "pass" {
			t.output.Reset()
		}
	}
}

func (p *results) parent(name string) *test {
	i := strings.LastIndex(name, "/")
	if i < 0 {
		return nil
	}
	return p.tests[name[:i]]
}

func (r *report) takePackage(p *results, e event) {
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		r.endPackage(e.Package, p, e)
		delete(r.packages, e.Package)
	}
}

// endPackage counts a package's tests and prints what is to be known of it.
func (r *report) endPackage(name string, p *results, e event) {
	var c counts
	for _, id := range slices.Sorted(maps.Keys(p.tests)) {
		t := p.tests[id]
		switch {
		case t.verdict == "fail" && !t.blamed:
			c.failed++
			r.failed = append(r.failed, name+" "+id)
			fmt.Fprint(r.out, t.output.String())
		case t.verdict == "fail" || t.verdict == "pass" && t.subtests:
			fmt.Fprint(r.out, t.output.String()) // its subtests are counted
		case t.verdict == "skip":
			c.skipped++
			r.skipped = append(r.skipped, name+" "+id+reason(t.output.String()))
		case t.verdict == "pass":
			c.passed++
		}
	}
	if e.Action == "fail" {
		if c.failed == 0 {
			c.failed = 1
			r.failed = append(r.failed, name)
			r.unfinished(p)
			if b := r.builds[e.FailedBuild]; b != nil {
				fmt.Fprint(r.out, b.String())
			}
		}
		fmt.Fprint(r.out, p.output.String())
	}
	r.total = r.total.plus(c)
	if e.Action == "skip" || c == (counts{}) {
		return // no tests
	}
	mark := map[bool]string{true: "FAIL", false: "ok  "}[e.Action == "fail"]
	fmt.Fprintf(r.out, "%s %-58s %8ss  %v\n", mark, name, e.Elapsed, c)
}

// unfinished prints the tests that were under way when their package ended.
func (r *report) unfinished(p *results) {
	for _, id := range slices.Sorted(maps.Keys(p.tests)) {
		if t := p.tests[id]; t.verdict == "" {
			fmt.Fprintf(r.out, "--- not finished: %s\n%s", id, t.output.String())
		}
	}
}

// finish ends packages that never said how they ended, and prints the sum.
func (r *report) finish() counts {
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		r.endPackage(name, r.packages[name], event{Action: "fail", Elapsed: "0"})
	}
	if len(r.failed) == 0 && r.total == (counts{}) {
		r.total.failed = 1
		r.failed = append(r.failed, "nothing was tested")
	}
	for _, s := range r.skipped {
		fmt.Fprintln(r.out, "skipped:", s)
	}
	for _, s := range r.failed {
		fmt.Fprintln(r.out, "failed: ", s)
	}
	fmt.Fprintln(r.out, "go:", r.total)
	return r.total
}

// reason is the last thing that a skipped test said.
func reason(output string) string {
	said := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			said = " (" + line + ")"
		}
	}
	return said
}
