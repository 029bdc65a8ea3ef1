package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The imports of this repository form a star: api <- fsm <- {scheduler,
// cluster, transport} <- cmd. The three in the middle meet in cmd only.
//
// A row speaks for a folder and all below it; the longest row wins. Packages
// of a row may always import each other.
type layer struct {
	dir  string
	ours []string // folders of this repository it may import
	deny []string // libraries it may not import, with all below them
	// outer are folders that its outer tests (package x_test) may import beside.
	outer []string
}

const (
	raftLib       = "github.com/hashicorp/raft"
	memberlistLib = "github.com/hashicorp/memberlist"
	grpcLib       = "google.golang.org/grpc"
)

var layers = []layer{
	{dir: "api", deny: []string{raftLib, memberlistLib}},
	// The scenarios of the promises play the machine with the scheduler's
	// decisions, as the proposer joins them.
	{dir: "fsm", ours: []string{"api", "internal/invariant", "internal/bugs"}, deny: []string{raftLib, memberlistLib, grpcLib}, outer: []string{"scheduler"}},
	// Its outer tests write the commands that make the state they decide on.
	{dir: "scheduler", ours: []string{"fsm", "internal/expression", "internal/invariant", "internal/bugs"}, deny: []string{raftLib, memberlistLib, grpcLib}, outer: []string{"api/limpet/v1"}},
	{dir: "cluster", ours: []string{"api", "fsm", "internal"}, deny: []string{grpcLib}},
	{dir: "transport", ours: []string{"api", "fsm", "web", "docs", "internal"}, deny: []string{raftLib, memberlistLib}},
	{dir: "client", ours: []string{"api"}, deny: []string{raftLib}},
	{dir: "web"},
	{dir: "docs"},
	{dir: "examples", ours: []string{"api", "client"}, deny: []string{raftLib}},
	{dir: "internal", ours: []string{"api"}, deny: []string{raftLib}},
	{dir: "internal/invariant"},
	// It tests the program from outside, by its ports and by the Go SDK.
	{dir: "tests", ours: []string{"api", "client"}, deny: []string{raftLib, memberlistLib}},
	{dir: "cmd", ours: []string{"api", "fsm", "scheduler", "cluster", "transport", "client", "web", "docs", "internal", "faults/lab"}},
	{dir: "faults", ours: []string{"api", "fsm", "scheduler", "cluster", "transport", "client", "web", "docs", "internal", "cmd"}},
	{dir: "faults/lab", ours: []string{"api", "fsm", "scheduler", "cluster", "transport", "client", "web", "docs", "internal", "faults"}},
}

// testLibs must not come into the binary, by whatever way.
var testLibs = []string{
	"pgregory.net/rapid", "github.com/anishathalye/porcupine", "go.uber.org/goleak",
	"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/stretchr/testify",
}

func TestImportsFormAStar(t *testing.T) {
	for _, text := range checkLayers(goList(t, "./...")) {
		t.Error(text)
	}
}

func TestLayersFindPlantedFaults(t *testing.T) {
	m := module + "/"
	for _, c := range []struct {
		name string
		p    pkg
		want string // "" when it is allowed
	}{
		{"the star", pkg{ImportPath: m + "fsm", Imports: []string{m + "api/limpet/v1"}}, ""},
		{"an edge inside a row", pkg{ImportPath: m + "transport", Imports: []string{m + "transport/rpc"}}, ""},
		{"wiring", pkg{ImportPath: m + "cmd/limpet", Imports: []string{m + "cluster", m + "scheduler", m + "faults/lab"}}, ""},
		{"fault lab", pkg{ImportPath: m + "faults/sim", Imports: []string{m + "cluster", "testing", "pgregory.net/rapid"}}, ""},
		{"siblings", pkg{ImportPath: m + "cluster", Imports: []string{m + "scheduler"}}, "cluster may not import scheduler"},
		{"siblings below", pkg{ImportPath: m + "cluster/history", Imports: []string{m + "transport/rest"}}, "cluster/history may not import transport/rest"},
		{"siblings in a test", pkg{ImportPath: m + "transport", TestImports: []string{m + "cluster"}}, "transport may not import cluster"},
		{"siblings in an outer test", pkg{ImportPath: m + "scheduler", XTestImports: []string{m + "cluster"}}, "scheduler may not import cluster"},
		{"the scheduler in the machine's outer tests", pkg{ImportPath: m + "fsm", XTestImports: []string{m + "scheduler"}}, ""},
		{"against the arrow", pkg{ImportPath: m + "fsm", Imports: []string{m + "scheduler"}}, "fsm may not import scheduler"},
		{"a longer row wins", pkg{ImportPath: m + "internal/invariant", Imports: []string{m + "api/limpet/v1"}}, "may not import"},
		{"raft in the machine", pkg{ImportPath: m + "fsm", Imports: []string{raftLib}}, "fsm may not import " + raftLib},
		{"raft in the transport", pkg{ImportPath: m + "transport/rest", Imports: []string{raftLib}}, "may not import " + raftLib},
		{"raft's name alone", pkg{ImportPath: m + "transport", Imports: []string{raftLib + "x"}}, ""},
		{"a fat client", pkg{ImportPath: m + "client", Imports: []string{m + "fsm"}}, "client may not import fsm"},
		{"faults", pkg{ImportPath: m + "cluster", Imports: []string{m + "faults/sim"}}, "cluster may not import faults/sim"},
		{"faults in cmd", pkg{ImportPath: m + "cmd/limpet", Imports: []string{m + "faults/sim"}}, "cmd/limpet may not import faults/sim"},
		{"testing", pkg{ImportPath: m + "cluster", Imports: []string{"testing"}}, "testing belongs into tests"},
		{"a test library", pkg{ImportPath: m + "fsm", Imports: []string{"pgregory.net/rapid"}}, "pgregory.net/rapid belongs into tests"},
		{"a test library in a test", pkg{ImportPath: m + "fsm", TestImports: []string{"pgregory.net/rapid", "testing"}}, ""},
		{"a test library through a library", pkg{ImportPath: m + "cmd/limpet", Name: "main", Deps: []string{"go.uber.org/goleak"}}, "reaches the binary"},
		{"an unknown folder", pkg{ImportPath: m + "misc"}, "has no row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(checkLayers([]pkg{c.p}), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func checkLayers(list []pkg) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, p := range list {
		row, ok := rowOf(p.rel())
		if !ok {
			say("%s has no row in the table of layers", p.ImportPath)
			continue
		}
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		slices.Sort(all)
		for _, imp := range slices.Compact(all) {
			inside, ours := strings.CutPrefix(imp, module+"/")
			outer := slices.Contains(p.XTestImports, imp) && !slices.Contains(p.Imports, imp) && slices.Contains(row.outer, inside)
			if ours && !outer && !row.mayImport(inside) {
				say("%s may not import %s", p.rel(), inside)
			}
		}
		test := strings.HasPrefix(p.rel(), "faults") && row.dir != "faults/lab" || strings.HasSuffix(p.rel(), "test")
		for _, imp := range p.Imports {
			if slices.ContainsFunc(row.deny, func(d string) bool { return within(imp, d) }) {
				say("%s may not import %s", p.rel(), imp)
			}
			if !test && (within(imp, "testing") || isTestLib(imp)) {
				say("%s: %s belongs into tests", p.rel(), imp)
			}
		}
		if p.Name != "main" {
			continue
		}
		for _, dep := range p.Deps {
			if isTestLib(dep) {
				say("%s: %s reaches the binary", p.rel(), dep)
			}
		}
	}
	return out
}

// rowOf finds the longest row that a folder lies in.
func rowOf(rel string) (best layer, ok bool) {
	for _, l := range layers {
		if within(rel, l.dir) && len(l.dir) > len(best.dir) {
			best, ok = l, true
		}
	}
	return best, ok
}

func (l layer) mayImport(inside string) bool {
	if row, _ := rowOf(inside); row.dir == l.dir {
		return true
	}
	return slices.ContainsFunc(l.ours, func(dir string) bool { return within(inside, dir) })
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func isTestLib(path string) bool {
	return slices.ContainsFunc(testLibs, func(l string) bool { return within(path, l) })
}
