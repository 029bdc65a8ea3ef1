package lint

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// One thing has one word. On the left what exported names must not say (whole
// words of the camel case), on the right what they say instead.
var words = map[string]string{
	"Engine":       "node or leader",
	"Broker":       "node",
	"Executor":     "worker",
	"Consumer":     "worker",
	"Permit":       "slot",
	"Allocation":   "assignment",
	"Placement":    "assignment",
	"Affinity":     "pin",
	"Stickiness":   "pin",
	"JobRun":       "task run",
	"StepRun":      "task run",
	"StickyState":  "pin",
	"FencingToken": "fence",
}

// Where the SDKs' own words stand on the wire, and where a library asks for a name.
var foreignWords = []string{"api/compat", "transport/rpc", "cluster/pipeline.go", "cluster/raft_transport.go"}

func TestExportedNamesUseTheWordsOfTheDesign(t *testing.T) {
	for _, s := range sources(t, root) {
		if slices.ContainsFunc(foreignWords, func(dir string) bool { return within(s.rel, dir) }) {
			continue
		}
		for _, f := range checkWords(s) {
			t.Error(f)
		}
	}
}

func TestWordsFindPlantedFaults(t *testing.T) {
	const planted = "testdata/words/names.go"
	s, err := parseSource(planted, planted)
	if err != nil {
		t.Fatal(err)
	}
	compareWithWants(t, checkWords(s), planted)
}

// checkWords looks at what a file declares, not at what it uses.
func checkWords(s source) (out []finding) {
	check := func(id *ast.Ident) {
		if !id.IsExported() {
			return
		}
		split := camelWords(id.Name)
		for _, bad := range slices.Sorted(maps.Keys(words)) {
			if containsWords(split, camelWords(bad)) {
				out = append(out, finding{s.at(id.Pos()), id.Name + ": say " + words[bad] + ", not " + bad})
			}
		}
	}
	fields := func(list *ast.FieldList) {
		if list == nil {
			return
		}
		for _, f := range list.List {
			for _, id := range f.Names {
				check(id)
			}
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			check(n.Name)
		case *ast.TypeSpec:
			check(n.Name)
		case *ast.ValueSpec:
			for _, id := range n.Names {
				check(id)
			}
		case *ast.StructType:
			fields(n.Fields)
		case *ast.InterfaceType:
			fields(n.Methods)
		case *ast.AssignStmt:
			return n.Tok != token.DEFINE
		}
		return true
	})
	return out
}

// camelWords splits "RaftHTTPNodes" into "Raft", "HTTP", "Nodes".
func camelWords(name string) (out []string) {
	r, start := []rune(name), 0
	for i := 1; i < len(r); i++ {
		head := unicode.IsUpper(r[i]) && !unicode.IsUpper(r[i-1])
		tail := unicode.IsUpper(r[i]) && unicode.IsUpper(r[i-1]) && i+1 < len(r) && unicode.IsLower(r[i+1])
		if head || tail || r[i] == '_' {
			out = append(out, string(r[start:i]))
			start = i
		}
	}
	return append(out, string(r[start:]))
}

// containsWords looks for a sequence of words; the last may be a plural.
func containsWords(have, want []string) bool {
	for i := 0; i+len(want) <= len(have); i++ {
		same := true
		for k, w := range want {
			h := have[i+k]
			if k == len(want)-1 {
				h = strings.TrimSuffix(h, "s")
				w = strings.TrimSuffix(w, "s")
			}
			same = same && strings.EqualFold(strings.Trim(h, "_"), w)
		}
		if same {
			return true
		}
	}
	return false
}
