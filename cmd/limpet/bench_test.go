package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/bench"
)

// TestMain lets the test's program be what `limpet bench` starts as its nodes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "server" || os.Args[1] == "bench") {
		main()
	}
	os.Exit(m.Run())
}

func TestBenchMeasuresAClusterOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "throughput", "--self-cluster", "3", "--dir", dir,
		"--runs", "100", "--outstanding", "10", "--warmup", "0s", "--payload", "100", "--csv", dir+"/figures.csv", "-o", "json")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	var r bench.Result
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if r.Runs != 100 || r.Failed != 0 || r.RunsPerSecond <= 0 || r.P50 <= 0 || r.NodesCPU <= 0 || len(r.NodesRSS) != 3 {
		t.Errorf("result is %s", out.String())
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "figures.csv" {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchNamesWhatIsWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct{ line, want string }{
		{"throughput --self-cluster 2", `--self-cluster is "2": must be 1, 3 or 5`},
		{"throughput --target here", `--target is "here": must be host:port`},
		{"throughput --target a:1 --self-cluster 3", `--target is "a:1": must be absent, or self, with --self-cluster`},
		{"throughput --outstanding 0 --target a:1", `--outstanding is "0": must be 1 to 100000`},
		{"bulk --batch 0 --target a:1 --token x", `--batch is "0": must be 1 to 1000`},
		{"dag --sticky firm", `--sticky is "firm": must be none, soft or hard`},
		{"failover --target a:1 --token x", `--self-cluster is "0": must be 3 or 5`},
		{"throughput --compare a:1", "--compare has 1 targets: must be 2"},
		{"throughput more", `argument is "more": must be none`},
		{"throughput --compare a:1 b:1 --rounds 0", `--rounds is "0": must be 1 to 1000`},
		{"ceiling --command 0", `--command is "0": must be 1 to 1048576 bytes`},
		{"throughput --target a:1 --token x -o xml", `--output is "xml": must be table or json`},
	} {
		code, _, errs := cli(t, append([]string{"bench"}, strings.Fields(c.line)...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d with %q, want %d with %q", c.line, code, errs, exitUsage, c.want)
		}
	}
}
