package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func sample() *Result {
	o := &Options{Workers: 3, Payload: 100, Target: Target{Name: "here"}}
	r := o.result("throughput", map[string]any{"outstanding": 64})
	r.Machine = Machine{Cores: 2, Load1: 0.1}
	h := &Histogram{}
	for i := range 1000 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	r.Runs, r.Seconds, r.RunsPerSecond, r.CommandsPerSecond = 1000, 10, 100, 5000
	r.latency(h)
	return r
}

// What reads the figures of this and of other servers relies on these names.
func TestJSONHasTheNamesThatReadersKnow(t *testing.T) {
	raw, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"workload": "throughput", "target": "here", "runs_per_second": 100.0, "commands_per_second": 5000.0, "runs": 1000.0, "seconds": 10.0, "max_ms": 1000.0, "failed": 0.0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for name, want := range map[string]float64{"p50_ms": 500, "p90_ms": 900, "p99_ms": 990, "p999_ms": 999} {
		v, ok := got[name].(float64)
		if !ok || v < 0.99*want || v > 1.01*want {
			t.Errorf("%s is %v, want %v within 1 %%", name, got[name], want)
		}
	}
	params, ok := got["params"].(map[string]any)
	if !ok || params["outstanding"] != 64.0 || params["workers"] != 3.0 || params["payload"] != 100.0 {
		t.Errorf("params are %v", got["params"])
	}
}

func TestCSVHasALineForEachPhase(t *testing.T) {
	r := sample()
	var b bytes.Buffer
	if err := WriteCSV(&b, r, true); err != nil {
		t.Fatal(err)
	}
	r.Phases = []Phase{{Label: "10 workers", Figures: r.Figures}, {Label: "20 workers", Figures: r.Figures}}
	if err := WriteCSV(&b, r, false); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 4 || lines[0][6] != "runs_per_second" || lines[1][6] != "100.000" || lines[2][3] != "10 workers" || lines[3][3] != "20 workers" {
		t.Errorf("lines are %q", lines)
	}
}

func TestABusyClientIsWarnedOf(t *testing.T) {
	r := sample()
	r.ClientShare = clientLimit
	if r.warnings(); len(r.Warnings) != 0 {
		t.Errorf("warned of %q", r.Warnings)
	}
	r.Phases = []Phase{{Figures: Figures{ClientShare: clientLimit + 1}}}
	r.Machine.Load1 = 3
	r.warnings()
	text := strings.Join(r.Warnings, "\n")
	if len(r.Warnings) != 2 || !strings.Contains(text, "client used 46 %") || !strings.Contains(text, "load average was 3.0 on 2 cores") {
		t.Errorf("warnings are %q", r.Warnings)
	}
}

func TestPeopleSeePhasesAndWarnings(t *testing.T) {
	r := sample()
	r.Phases = []Phase{{Label: "10 workers", Figures: r.Figures}}
	r.Warnings = []string{"careful"}
	r.set("last_to_first_p99", 1.25)
	var b bytes.Buffer
	r.Print(&b)
	for _, want := range []string{"throughput against here: outstanding=64 payload=100 workers=3\n", "  10 workers\n    100 runs/s", "the log alone: 5000 commands/s", "last to first p99: 1.25", "warning: careful"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestStatIsReadBehindTheName(t *testing.T) {
	got, err := parseStat([]byte("12 (a) b (c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7\n"))
	if err != nil || got != 3 {
		t.Errorf("got %v and %v, want 3 seconds", got, err)
	}
	for _, bad := range []string{"", "12 a S 1", "12 (a) S 1 2", "12 (a) S 1 12 12 0 -1 4194304 100 0 0 0 x 50"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
