package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

// Report is what a run of the lab has shown.
type Report struct {
	Scenario string        `json:"scenario"`
	About    string        `json:"about"`
	Seed     uint64        `json:"seed"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took"`
	Healed   time.Duration `json:"healed"`
	Version  string        `json:"version,omitempty"`
	Nodes    int           `json:"nodes"`
	Workers  int           `json:"workers"`
	Clients  int           `json:"clients"`
	// Wired: every host had a network namespace; else LeftOut was not done.
	Wired   bool     `json:"wired"`
	LeftOut []string `json:"left_out,omitempty"`

	// Started and Finished are runs, by the log; Kept and Open are those that the
	// state holds at the end, and those of them that are not final.
	Started  int            `json:"started"`
	Finished int            `json:"finished"`
	Kept     int            `json:"kept"`
	Open     int            `json:"open"`
	Finals   map[string]int `json:"finals"`
	// Calls of clients by kind and outcome, and what workers wrote down.
	Clientele map[string]int `json:"calls"`
	Bodies    int            `json:"bodies"`
	State     map[string]int `json:"state"`
	Entries   int            `json:"entries"`
	Terms     int            `json:"terms"`
	Faults    map[string]int `json:"faults"`
	FaultSum  int            `json:"faults_total"`
	Packets   [2]uint64      `json:"packets_passed_and_dropped"`

	Late Lateness `json:"late"`

	Violations []check.Violation `json:"violations"`
	// Broken is what a scenario, or the lab, expected and did not find.
	Broken []string `json:"broken,omitempty"`

	chart chart
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Violations) == 0 && len(r.Broken) == 0 }

func (l *Lab) newReport(s Scenario, h history.History, violations []check.Violation) *Report {
	r := &Report{
		Scenario: s.Name, About: s.About, Seed: l.cfg.Seed, Began: l.history.Start(), Nodes: len(l.nodes), Workers: l.cfg.Workers, Clients: l.cfg.Clients,
		Wired: l.wires != nil, LeftOut: l.leftOut, Finals: map[string]int{}, Clientele: map[string]int{}, State: map[string]int{},
		Faults: faultCounts(h), Violations: violations,
	}
	if s.quiet {
		r.Clients = 0
	}
	if r.Violations == nil {
		r.Violations = []check.Violation{}
	}
	if l.wires != nil {
		r.Packets = [2]uint64{l.wires.passed.Load(), l.wires.dropped.Load()}
	}
	for _, n := range r.Faults {
		r.FaultSum += n
	}
	r.count(h)
	r.chart = draw(l, h, violations)
	return r
}

func (r *Report) count(h history.History) {
	terms := map[uint64]bool{}
	seen := map[string]bool{}
	for _, e := range h {
		first, second, _ := strings.Cut(string(e.Kind), ".")
		switch {
		case e.Kind == history.Healed:
			r.Healed = e.At
		case e.Kind == history.Rest:
			r.Took = e.At
		case e.Kind == history.Leader:
			terms[e.Term] = true
		case e.Kind == history.RunFinal:
			r.Finals[e.Detail]++
			r.Finished++
		case e.Kind == history.Kept:
		case first == "client" && e.Op != "":
			r.Clientele[e.Op+" "+second]++
		case first == "client":
			r.Clientele["result "+second]++
		case first == "state":
			r.State[second+more(e)]++
		case first == "worker":
			r.State["worker "+second]++
		}
		if e.Kind == history.Assigned && !seen[e.Run] || e.Kind == history.Kept && e.Run != "" && !seen[e.Run] {
			seen[e.Run] = true
			r.Started++
		}
	}
	r.Terms = len(terms)
}

// more tells apart what is worth counting apart.
func more(e history.Event) string {
	switch e.Kind {
	case history.Lease:
		return " " + e.Status
	case history.Pinned:
		return ": " + e.Cause
	case history.Assigned:
		return ": " + e.Cause
	case history.Fired:
		return ": " + e.Cause
	}
	return ""
}

// keep writes the report, and the history beside it.
func (l *Lab) keep(r *Report, h history.History) error {
	out := l.cfg.Out
	if out == "" {
		out = filepath.Join(l.dir, "report")
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.Create(filepath.Join(l.dir, "history.jsonl"))
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := history.Write(f, h); err != nil {
		return err
	}
	if err := os.WriteFile(out+".json", append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(out+".html", page(r), 0o600); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	l.say("%s", r)
	l.say("report: %s.html", out)
	return nil
}

// String gives the report in a few lines.
func (r *Report) String() string {
	verdict := "KEPT: no violation"
	if !r.OK() {
		verdict = fmt.Sprintf("BROKEN: %d violations", len(r.Violations))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, seed %d: %s. %d runs started, %d ends of runs, %d bodies executed, %d faults, %d terms, %s",
		r.Scenario, r.Seed, verdict, r.Started, r.Finished, r.Bodies, r.FaultSum, r.Terms, r.Took.Round(time.Second))
	const most = 10
	for i, v := range r.Violations {
		if i == most {
			fmt.Fprintf(&b, "\n    and %d more", len(r.Violations)-most)
			break
		}
		fmt.Fprintf(&b, "\n    %s", v)
	}
	for _, text := range r.Broken {
		fmt.Fprintf(&b, "\n    %s", text)
	}
	if text := r.Late.String(); text != "" {
		fmt.Fprintf(&b, "\n    %s", text)
	}
	return b.String()
}
