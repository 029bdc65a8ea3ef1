package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/bench"
)

func result(workload string, outstanding, rps float64) *bench.Result {
	r := &bench.Result{Workload: workload, Params: map[string]any{"outstanding": outstanding}}
	r.RunsPerSecond, r.P50, r.P99, r.Runs, r.NodesCPU = rps, 1.25, 20, 1234, 0.2
	return r
}

// suite writes results of every kind and gives their directory.
func suite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ceiling := result("ceiling", 256, 10_000)
	ceiling.Params["batch"], ceiling.Params["command_bytes"] = 1, 256
	ceiling.Extra = map[string]float64{"stub_runs_per_second": 18_000, "log_entries_per_second": 2000}
	ceiling.CommandsPerSecond = 100_000
	failover := result("failover", 0, 200)
	failover.Params["kills"], failover.Params["rate"] = 2, 200
	failover.Series = []bench.Point{{GapMS: 700, FirstMS: 750}, {GapMS: 600, FirstMS: 650}}
	failover.Extra = map[string]float64{"gap_p50_ms": 700, "lost_runs": 0, "doubled_tasks": 0}
	overload := result("overload", 256, 900)
	overload.Params["factor"], overload.Params["seconds"] = 3, 60
	overload.Series = []bench.Point{{Second: 1, Sent: 300, Runs: 100, RSS: 1 << 28}, {Second: 2, Sent: 310, Runs: 90, Refused: 200, RSS: 1 << 28}}
	overload.Extra = map[string]float64{"recovery_seconds": 3.25, "refused_per_second": 1800}
	backlog := result("backlog", 64, 900)
	backlog.Phases = []bench.Phase{
		{Label: "0 parked", X: 0, Figures: result("", 0, 900).Figures},
		{
			Label: "1000000 parked", X: 1_000_000, Figures: result("", 0, 890).Figures,
			Ratios: map[string]bench.Ratio{"runs_per_second": {Min: 0.9, Median: 0.95, Max: 1}, "p99_ms": {Min: 1, Median: 1.1, Max: 1.25}},
		},
	}
	for name, r := range map[string]*bench.Result{
		"ceiling": ceiling, "throughput-256": result("throughput", 256, 6000), "throughput-1": result("throughput", 1, 300),
		"failover": failover, "overload": overload, "backlog": backlog,
	} {
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTablesShowWhatWasMeasured(t *testing.T) {
	r, err := Load(suite(t))
	if err != nil {
		t.Fatal(err)
	}
	text := r.Markdown("img")
	at := 0
	for _, want := range []string{ // in this order
		"18,000 runs/s; the log alone commits 100,000 commands/s",
		"| one by one | 1 | 300 | 1.2 |", "| one by one | 256 | 6,000 |", "| 60 % |", "| ceiling, one by one | 256 | 10,000 |",
		"| beside the first: runs/s | p99 | CPU |", "| 0 | 900 |", "| 1,000,000 | 890 |", "| 0.95 [0.90, 1.00] | 1.10 [1.00, 1.25] |  |",
		"2 leaders killed (SIGKILL) under 200 runs/s: 1,234 runs, 0 lost, 0 tasks doubled",
		"| refused, per second | 1,800 |", "| as before again after, s | 3.2 |",
		"(img/bench-throughput.svg)",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place, in\n%s", want, text)
		}
		at += i
	}
	if strings.Contains(text, "Many workers") {
		t.Error("there is a table of what was not measured")
	}
}

func TestTablesGoBetweenTheMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("# A\n\n"+beginMark+"\nold\n"+endMark+"\n\nrest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also again
		if err := Insert(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "# A\n\n" + beginMark + "\n\nnew\n\n" + endMark + "\n\nrest\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if err := os.WriteFile(file, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Insert(file, "new"); err == nil || !strings.Contains(err.Error(), "has no lines") {
		t.Errorf("without marks: %v", err)
	}
}

func TestNoResultsAreAnError(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no results") {
		t.Errorf("error is %v", err)
	}
}

func TestPlotsAreSoundAndInsideTheirFrame(t *testing.T) {
	r, err := Load(suite(t))
	if err != nil {
		t.Fatal(err)
	}
	names, err := r.WritePlots(filepath.Join(t.TempDir(), "img"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 4 {
		t.Errorf("plots are %q, want 4", names)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		points := 0
		for dec := xml.NewDecoder(strings.NewReader(string(raw))); ; {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			el, ok := tok.(xml.StartElement)
			if !ok || el.Name.Local != "circle" {
				continue
			}
			points++
			for _, a := range el.Attr {
				v, err := strconv.ParseFloat(a.Value, 64)
				switch {
				case a.Name.Local == "cx" && (err != nil || v < left || v > width-right),
					a.Name.Local == "cy" && (err != nil || v < top || v > height-bottom):
					t.Errorf("%s: a point has %s = %s", name, a.Name.Local, a.Value)
				}
			}
		}
		if points == 0 {
			t.Errorf("%s has no points", name)
		}
	}
}

func TestAxisSteps(t *testing.T) {
	for most, want := range map[float64]float64{1: 0.2, 9: 2, 100: 20, 8000: 2000, 0.04: 0.01, 12: 5} {
		if got := step(most); got < 0.999*want || got > 1.001*want {
			t.Errorf("step for %v is %v, want %v", most, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 12: "12", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := grouped(v); got != want {
			t.Errorf("grouped(%v) is %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0.2: "0.2", 64: "64", 1000: "1000", 10_000: "10 k", 1_000_000: "1 M", 2_500_000: "2.5 M"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) is %q, want %q", v, got, want)
		}
	}
}
