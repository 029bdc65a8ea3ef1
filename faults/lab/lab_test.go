package lab_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/faults/lab"
)

// allVariable set to all runs every scenario, and not the short ones only.
const allVariable = "LIMPET_LAB"

// build makes the program under test.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "limpet")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "github.com/limpet-dev/limpet/cmd/limpet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// TestScenarios plays the named scenarios with real processes. A scenario that
// fails leaves its logs and its report in the directory that it names.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes take their time: not with -short")
	}
	all := os.Getenv(allVariable) == "all"
	if why := lab.Namespaces(); why != nil {
		t.Skipf("the scenarios need namespaces: %v", why)
	}
	bin := build(t)
	for _, s := range lab.Scenarios() {
		if !all && !s.Short {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "limpet-lab-"+s.Name+"-") //nolint:usetesting // kept when the scenario fails
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), bin, "lab", "run", "--scenario", s.Name, "--dir", dir).CombinedOutput()
			if err != nil {
				t.Fatalf("%v; see %s\n%s", err, dir, out)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
			if err != nil {
				t.Fatal(err)
			}
			var r lab.Report
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			if !r.OK() || r.Scenario != s.Name || !r.Wired || r.Open != 0 || r.Started == 0 || r.Bodies == 0 || r.FaultSum == 0 {
				t.Errorf("report: %s", raw)
			}
			if page, err := os.ReadFile(filepath.Join(dir, "report.html")); err != nil || !bytes.Contains(page, []byte("<svg")) {
				t.Errorf("page of %d bytes: %v", len(page), err)
			}
			_ = os.RemoveAll(dir)
		})
	}
}

// TestLoopback shows that without namespaces the lab still runs, and says what
// it leaves out.
func TestLoopback(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes take their time: not with -short")
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), build(t), "lab", "run", "--random", "--seed", "3", "--duration", "8s", "--workers", "6", "--clients", "2",
		"--loopback", "--dir", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Left out: ", "partition: halves", "disk full"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r lab.Report
	if err := json.Unmarshal(raw, &r); err != nil || r.Wired || !slices.Contains(r.LeftOut, "packets lost") || r.Started == 0 {
		t.Errorf("report (%v): %s", err, raw)
	}
}

func TestSettingsThatCannotBeUsedAreNamed(t *testing.T) {
	good := lab.Config{Nodes: 3, Workers: 5, Clients: 1, Duration: 1e9, Dir: "x"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*lab.Config)
		want  string
	}{
		{"scenario", func(c *lab.Config) { c.Scenario = "nonsense" }, `--scenario is "nonsense"`},
		{"nodes", func(c *lab.Config) { c.Nodes = 2 }, "--nodes is 2: must be 3 or 5"},
		{"workers", func(c *lab.Config) { c.Workers = 0 }, "--workers is 0: must be 1 to 500"},
		{"clients", func(c *lab.Config) { c.Clients = 101 }, "--clients is 101: must be 1 to 100"},
		{"duration", func(c *lab.Config) { c.Duration = 1 }, "--duration is 1ns: must be 1s or more"},
		{"dir", func(c *lab.Config) { c.Dir = "" }, "--dir is empty"},
	} {
		bad := good
		c.spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEveryScenarioSaysWhatItIs(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range lab.Scenarios() {
		if s.Name == "" || s.About == "" || seen[s.Name] {
			t.Errorf("scenario %q: %q", s.Name, s.About)
		}
		seen[s.Name] = true
	}
}
