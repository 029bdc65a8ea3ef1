package lint

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Sizes of hand-written code outside tests. What is longer has two jobs.
const (
	maxFile         = 500   // lines of a file
	maxFunc         = 70    // lines of a function, signature and brace included
	maxPackage      = 8_000 // lines of a package
	maxPackageFiles = 60
)

// ratchetFile lists what was let through, one "name lines" each. An entry may
// only shrink: it must say the present size, and go when the limit is kept.
const ratchetFile = "size.ratchet"

func TestSizesStayWithinTheirLimits(t *testing.T) {
	ratchet, err := readRatchet(ratchetFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range checkSizes(measure(sources(t, root)), ratchet) {
		t.Error(text)
	}
}

func TestSizesFindPlantedFaults(t *testing.T) {
	s, err := parseSource("testdata/size/long.go", "long.go")
	if err != nil {
		t.Fatal(err)
	}
	m := measure([]source{s})
	for name, want := range map[string]int{"long.go": 81, "long.go:short": 3, "long.go:long": 71, "long.go:keeper.keep": 1} {
		if m[name].lines != want {
			t.Errorf("%s measures %d lines, want %d", name, m[name].lines, want)
		}
	}
	at := func(lines, limit int) map[string]size { return map[string]size{"x": {lines, limit}} }
	for _, c := range []struct {
		name    string
		sizes   map[string]size
		ratchet map[string]int
		want    string
	}{
		{"at the limit", at(70, 70), nil, ""},
		{"over the limit", at(71, 70), nil, "71 lines, allowed are 70"},
		{"let through", at(90, 70), map[string]int{"x": 90}, ""},
		{"grown", at(91, 70), map[string]int{"x": 90}, "91 lines, allowed are 90"},
		{"shrunk", at(80, 70), map[string]int{"x": 90}, "shrunk to 80"},
		{"repaired", at(70, 70), map[string]int{"x": 90}, "remove it"},
		{"gone", at(1, 70), map[string]int{"x": 90, "y": 90}, "remove it"},
		{"a long function in a file", m, nil, "long.go:long: 71 lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(checkSizes(c.sizes, c.ratchet), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

type size struct{ lines, limit int }

// measure gives the size of every file ("a/b.go"), function ("a/b.go:T.f"),
// and package ("a", "a files").
func measure(list []source) map[string]size {
	out := map[string]size{}
	for _, s := range list {
		lines := bytes.Count(s.text, []byte("\n"))
		out[s.rel] = size{lines, maxFile}
		dir := path.Dir(s.rel)
		out[dir] = size{out[dir].lines + lines, maxPackage}
		out[dir+" files"] = size{out[dir+" files"].lines + 1, maxPackageFiles}
		for _, d := range s.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				out[s.rel+":"+funcName(fn)] = size{s.at(fn.End()).Line - s.at(fn.Pos()).Line + 1, maxFunc}
			}
		}
	}
	return out
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}

func checkSizes(sizes map[string]size, ratchet map[string]int) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		got := sizes[name]
		limit := max(got.limit, ratchet[name])
		if got.lines > limit {
			say("%s: %d lines, allowed are %d", name, got.lines, limit)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ratchet)) {
		switch got := sizes[name]; {
		case got.lines <= got.limit:
			say("%s: %s keeps its limit now (or is gone): remove it", ratchetFile, name)
		case got.lines < ratchet[name]:
			say("%s: %s has shrunk to %d: write that down", ratchetFile, name, got.lines)
		}
	}
	return out
}

func readRatchet(name string) (map[string]int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndex(line, " ")
		n, err := strconv.Atoi(line[i+1:])
		if i < 0 || err != nil {
			return nil, fmt.Errorf("%s: line %q: want \"name lines\"", name, line)
		}
		out[line[:i]] = n
	}
	return out, nil
}
