package lab_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/faults/lab"
	"github.com/limpet-dev/limpet/internal/bugs"
)

var (
	judge   = flag.String("judge", "", "the ordinary program, which runs the lab: without it deliberate bugs are not tried")
	buggy   = flag.String("buggy", "", "a program with the deliberate bugs, built with the tag limpet_bugs")
	onlyBug = flag.String("bug", "", "try only this deliberate bug")
	seeds   = flag.Int("seeds", 3, "runs of chance for each deliberate bug before it counts as missed")
	from    = flag.Uint64("from", 1, "the seed of the first of them")
	chance  = flag.Duration("chance", 40*time.Second, "how long each of them goes on")
)

// suited are named scenarios that do what a bug shows itself at. They are tried
// before runs of chance.
var suited = map[bugs.Bug][]string{
	bugs.AckEarly:      {"leaders-deposed", "disk-stalls"},
	bugs.AssignEarly:   {"leaders-deposed", "disk-stalls"},
	bugs.RestoreNoPins: {"snapshot-install"},
	bugs.RestoreEpochs: {"worker-and-leader-die"},
	bugs.WallClock:     {"clock-jumps"},
	bugs.NoFence:       {"zombie-worker"},
	bugs.NoDedup:       {"trigger-retried"},
	bugs.EarlyExpiry:   {"frozen-while-rolling"},
	bugs.SuspectMoves:  {"all-nodes-killed"},
}

// Each deliberate bug must be caught by the lab within some runs.
func TestEveryBugIsCaught(t *testing.T) {
	if *judge == "" || *buggy == "" {
		t.Skip("the lab tries deliberate bugs with -judge and -buggy: `make lab-bugs`")
	}
	if why := lab.Namespaces(); why != nil {
		t.Skipf("the faults need namespaces: %v", why)
	}
	var table strings.Builder
	for _, bug := range bugs.All() {
		if *onlyBug != "" && *onlyBug != string(bug) {
			continue
		}
		t.Run(string(bug), func(t *testing.T) {
			began := time.Now()
			for _, how := range attempts(bug) {
				by, first := tryBug(t, bug, how)
				if len(by) == 0 {
					t.Logf("%s: not caught", strings.Join(how, " "))
					continue
				}
				took := time.Since(began).Seconds()
				fmt.Fprintf(&table, "| `%s` | %s | %.0f | %s |\n", bug, how[1], took, strings.Join(by, ", "))
				t.Logf("%s, after %.0f s: %s", strings.Join(how, " "), took, first)
				return
			}
			fmt.Fprintf(&table, "| `%s` | | not caught | |\n", bug)
			t.Error("not caught")
		})
	}
	t.Logf("\n| bug | seed or scenario | seconds to the verdict | caught by |\n|---|---|---|---|\n%s", table.String())
}

// attempts are the runs that are made with a bug, as words for the command line.
func attempts(bug bugs.Bug) (out [][]string) {
	for _, name := range suited[bug] {
		out = append(out, []string{"--scenario", name})
	}
	for i := range *seeds {
		seed := strconv.FormatUint(*from+uint64(i), 10) //nolint:gosec // not negative
		out = append(out, []string{"--seed", seed, "--random", "--duration", chance.String()})
	}
	return out
}

// tryBug makes one run against nodes with a bug, and gives the invariants that
// were violated and the first violation.
func tryBug(t *testing.T, bug bugs.Bug, how []string) (by []string, first string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "limpet-bug-"+string(bug)+"-") //nolint:usetesting // its path is too long for the lab
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	words := append([]string{"lab", "run", "--dir", dir, "--bin", *buggy}, how...)
	cmd := exec.CommandContext(t.Context(), *judge, words...)
	cmd.Env = append(os.Environ(), "LIMPET_BUG="+string(bug))
	out, failed := cmd.CombinedOutput()
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		if failed == nil {
			t.Fatal(err)
		}
		return []string{"process"}, string(out) // the cluster did not come so far
	}
	var r lab.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		if first == "" {
			first = v.String()
		}
		if !slices.Contains(by, v.Invariant) {
			by = append(by, v.Invariant)
		}
	}
	slices.Sort(by)
	if len(r.Broken) > 0 {
		by = append(by, "lab")
		if first == "" {
			first = r.Broken[0]
		}
	}
	return by, first
}
