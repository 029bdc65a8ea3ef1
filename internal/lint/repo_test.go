package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that our own packages begin with.
const module = "github.com/limpet-dev/limpet"

// root is the repository, seen from this folder.
const root = "../.."

// finding is one broken law.
type finding struct {
	pos  token.Position
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.pos.Filename, f.pos.Line, f.text) }

// pkg is what the laws need of `go list -json`.
type pkg struct {
	ImportPath     string
	Dir            string
	Name           string
	Standard       bool
	Export         string
	GoFiles        []string
	IgnoredGoFiles []string
	Imports        []string
	TestImports    []string
	XTestImports   []string
	Deps           []string
}

// rel is the folder of a package of ours, "" for the module's root.
func (p pkg) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var list []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.ImportPath, "/node_modules/") {
			list = append(list, p)
		}
	}
	return list
}

// source is one hand-written, non-test Go file.
type source struct {
	rel  string // slash-separated path from the repository
	text []byte
	file *ast.File
	fset *token.FileSet
}

func (s source) at(p token.Pos) token.Position {
	pos := s.fset.Position(p)
	pos.Filename = s.rel
	return pos
}

// sources reads the hand-written, non-test Go files under dir.
func sources(t *testing.T, dir string) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			skip := path != dir && (strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "node_modules", "vendor", "bin"}, name))
			if skip {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		s, err := parseSource(path, filepath.ToSlash(rel))
		if err == nil && !ast.IsGenerated(s.file) {
			out = append(out, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parseSource(path, rel string) (source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return source{}, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{rel: rel, text: text, file: file, fset: fset}, err
}

var wantMark = regexp.MustCompile(`// want ((?:"[^"]*" ?)+)`)

// compareWithWants holds findings against the `// want "part of the text"`
// marks of planted files: each line must have exactly the findings it wants.
func compareWithWants(t *testing.T, found []finding, files ...string) {
	t.Helper()
	type place struct {
		file string
		line int
	}
	got := map[place][]string{}
	for _, f := range found {
		p := place{filepath.Base(f.pos.Filename), f.pos.Line}
		got[p] = append(got[p], f.text)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			p := place{filepath.Base(path), i + 1}
			var wants []string
			if m := wantMark.FindStringSubmatch(line); m != nil {
				for _, q := range regexp.MustCompile(`"[^"]*"`).FindAllString(m[1], -1) {
					w, _ := strconv.Unquote(q)
					wants = append(wants, w)
				}
			}
			texts := got[p]
			delete(got, p)
			for _, w := range wants {
				k := slices.IndexFunc(texts, func(s string) bool { return strings.Contains(s, w) })
				if k < 0 {
					t.Errorf("%s:%d: planted %q was not found (found %q)", path, i+1, w, texts)
					continue
				}
				texts = slices.Delete(texts, k, k+1)
			}
			for _, s := range texts {
				t.Errorf("%s:%d: found what was not planted: %s", path, i+1, s)
			}
		}
	}
	for p, texts := range got {
		t.Errorf("%s:%d: found outside the planted files: %q", p.file, p.line, texts)
	}
}
