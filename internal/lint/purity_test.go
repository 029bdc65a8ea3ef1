package lint

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The pure packages run on every node and must come to the same bytes. They
// get time, ids and chance as input. These are the imports they may have; a
// trailing "/..." lets everything below in as well.
var pureImports = map[string][]string{
	"fsm": {
		"bufio", "bytes", "cmp", "container/heap", "encoding/binary", "errors", "fmt", "hash", "hash/fnv", "io", "iter", "maps",
		"math", "math/bits", "slices", "strconv", "strings", "time", "unicode/utf8",
		"google.golang.org/protobuf/...", "github.com/tidwall/btree", "github.com/cespare/xxhash/v2",
		module + "/api/...", module + "/fsm/...", module + "/internal/invariant", module + "/internal/bugs",
	},
	"scheduler": {
		"cmp", "container/heap", "errors", "fmt", "iter", "maps", "slices", "strconv", "strings", "time",
		module + "/fsm", module + "/scheduler/...", module + "/internal/expression", module + "/internal/invariant", module + "/internal/bugs",
	},
}

// What of package time reads a clock, starts a timer or depends on the host.
var impureTime = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Timer", "Ticker",
	"Local", "LoadLocation",
}

// Iterators and walks of package maps, in an order that differs from run to run.
var unorderedMaps = []string{"Keys", "Values", "All", "DeleteFunc", "EqualFunc"}

// hatch opens an exception for its line, or for the next one when it stands
// alone. What follows it is the reason, without which it opens nothing.
const hatch = "//det:ok"

// If it fails on code that is deterministic all the same: //det:ok and why.
func TestPurePackagesAreDeterministic(t *testing.T) {
	list := goList(t, "-export", "-deps", "./...")
	imp := exportImporter(list)
	for _, p := range list {
		layer, _, _ := strings.Cut(p.rel(), "/")
		allowed, pure := pureImports[layer]
		if !pure || !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		for _, name := range p.IgnoredGoFiles {
			if !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s/%s: hidden by a build constraint: pure packages are the same in every build", p.rel(), name)
			}
		}
		var files []string
		for _, name := range p.GoFiles {
			files = append(files, filepath.Join(root, filepath.FromSlash(p.rel()), name))
		}
		found, err := checkPurity(imp, p.ImportPath, allowed, files)
		if err != nil {
			t.Errorf("%s: %v", p.rel(), err)
		}
		for _, f := range found {
			f.pos.Filename = p.rel() + "/" + filepath.Base(f.pos.Filename)
			t.Error(f)
		}
	}
}

func TestPurityFindsPlantedFaults(t *testing.T) {
	imp := exportImporter(goList(t, "-export", "-deps", "maps", "math", "math/rand", "slices", "strings", "sync/atomic", "time", "fmt", "cmp"))
	files, err := filepath.Glob("testdata/purity/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no planted files", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			found, err := checkPurity(imp, "planted", pureImports["fsm"], []string{f})
			if err != nil {
				t.Fatal(err)
			}
			compareWithWants(t, found, f)
		})
	}
}

// exportImporter reads the compiled form of packages that `go list -export` named.
func exportImporter(list []pkg) types.Importer {
	exports := map[string]string{}
	for _, p := range list {
		exports[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("package %q was not compiled", path)
		}
		return os.Open(exports[path])
	})
}

// checkPurity type-checks one package from its files and walks them.
func checkPurity(imp types.Importer, importPath string, allowed, paths []string) ([]finding, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, p := range paths {
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if !ast.IsGenerated(f) {
			files = append(files, f)
		}
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: imp}
	if _, err := conf.Check(importPath, fset, files, info); err != nil {
		return nil, fmt.Errorf("does not compile: %w", err)
	}
	var out []finding
	for _, f := range files {
		p := &purity{fset: fset, info: info, allowed: allowed, ordered: map[ast.Node]bool{}, seen: map[string]bool{}}
		p.openHatches(f)
		p.imports(f)
		ast.Inspect(f, p.visit)
		p.closeHatches()
		out = append(out, p.found...)
	}
	return out, nil
}

// purity walks one file.
type purity struct {
	fset    *token.FileSet
	info    *types.Info
	allowed []string
	found   []finding
	ordered map[ast.Node]bool // calls whose order is mended by the call around them
	seen    map[string]bool   // one finding of a kind per line
	hatches []*exception
}

// exception is an open hatch: the lines it covers, and whether it was needed.
type exception struct {
	pos    token.Pos
	line   int
	alone  bool
	needed bool
}

func (p *purity) imports(f *ast.File) {
	for _, spec := range f.Imports {
		got, _ := strconv.Unquote(spec.Path.Value)
		ok := slices.ContainsFunc(p.allowed, func(a string) bool {
			base, below := strings.CutSuffix(a, "/...")
			return got == base || below && strings.HasPrefix(got, base+"/")
		})
		if !ok {
			// No hatch: an import is a decision of the design.
			p.found = append(p.found, finding{p.fset.Position(spec.Pos()), fmt.Sprintf("import %q is not on the allow list of this package (no exceptions)", got)})
		}
		if spec.Name != nil && spec.Name.Name == "." {
			p.report(spec.Pos(), "dot import hides where names come from")
		}
	}
}

func (p *purity) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		p.report(n.Pos(), "goroutine")
	case *ast.SelectStmt:
		p.report(n.Pos(), "select")
	case *ast.SendStmt, *ast.ChanType:
		p.report(n.Pos(), "channel")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			p.report(n.Pos(), "channel")
		}
	case *ast.RangeStmt:
		p.rangeOver(n)
	case *ast.CallExpr:
		// Children come later, so a wrapped iterator is known in time.
		if name := p.qualified(n.Fun); name == "slices.Sorted" || name == "maps.Collect" {
			for _, arg := range n.Args {
				if c, ok := ast.Unparen(arg).(*ast.CallExpr); ok {
					p.ordered[c.Fun] = true
				}
			}
		}
	case *ast.SelectorExpr:
		p.selector(n)
	case *ast.BasicLit:
		p.literal(n)
	case *ast.Ident:
		p.ident(n)
	}
	if e, ok := n.(ast.Expr); ok && isFloat(p.info.TypeOf(e)) {
		p.report(n.Pos(), "float")
	}
	return true
}

func (p *purity) rangeOver(n *ast.RangeStmt) {
	t := p.info.TypeOf(n.X)
	if t == nil {
		return
	}
	switch coreType(t).(type) {
	case *types.Map:
		p.report(n.Pos(), "range over a map: its order differs from run to run")
	case *types.Chan:
		p.report(n.Pos(), "channel")
	}
}

func (p *purity) selector(n *ast.SelectorExpr) {
	name := p.qualified(n)
	switch q, _, _ := strings.Cut(name, "."); {
	case q == "time" && slices.Contains(impureTime, n.Sel.Name):
		p.report(n.Pos(), "clock: "+name+"; take the instant as a parameter")
	case q == "maps" && slices.Contains(unorderedMaps, n.Sel.Name) && !p.ordered[n]:
		p.report(n.Pos(), name+": its order differs from run to run; wrap it in slices.Sorted")
	}
}

func (p *purity) literal(n *ast.BasicLit) {
	if n.Kind == token.FLOAT || n.Kind == token.IMAG {
		p.report(n.Pos(), "float")
	}
	if n.Kind == token.STRING && strings.Contains(n.Value, "%p") {
		p.report(n.Pos(), "%p: an address differs from node to node")
	}
}

func (p *purity) ident(n *ast.Ident) {
	obj := p.info.ObjectOf(n)
	switch o := obj.(type) {
	case *types.TypeName, *types.Var, *types.Const:
		if isFloat(o.Type()) {
			p.report(n.Pos(), "float")
		}
	}
}

// qualified is "time.Now" for a selector on an imported package, else "".
func (p *purity) qualified(e ast.Expr) string {
	if ix, ok := e.(*ast.IndexExpr); ok {
		e = ix.X
	}
	sel, ok := ast.Unparen(e).(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	name, ok := p.info.Uses[id].(*types.PkgName)
	if !ok {
		return ""
	}
	return name.Imported().Path() + "." + sel.Sel.Name
}

func (p *purity) report(pos token.Pos, text string) {
	at := p.fset.Position(pos)
	for _, h := range p.hatches {
		if h.line == at.Line || h.alone && h.line+1 == at.Line {
			h.needed = true
			return
		}
	}
	key := fmt.Sprint(at.Line, text)
	if !p.seen[key] {
		p.seen[key] = true
		p.found = append(p.found, finding{at, text})
	}
}

func (p *purity) openHatches(f *ast.File) {
	code := map[int]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n.(type) {
		case nil, *ast.Comment, *ast.CommentGroup:
			return false
		}
		code[p.fset.Position(n.Pos()).Line] = true
		code[p.fset.Position(n.End()-1).Line] = true
		return true
	})
	for _, g := range f.Comments {
		for _, c := range g.List {
			reason, ok := strings.CutPrefix(c.Text, hatch)
			if !ok {
				continue
			}
			reason, _, _ = strings.Cut(reason, "//")
			line := p.fset.Position(c.Pos()).Line
			if len(strings.Fields(reason)) < 2 {
				p.report(c.Pos(), hatch+" without a reason")
				continue
			}
			p.hatches = append(p.hatches, &exception{pos: c.Pos(), line: line, alone: !code[line]})
		}
	}
}

func (p *purity) closeHatches() {
	for _, h := range p.hatches {
		if !h.needed {
			p.found = append(p.found, finding{p.fset.Position(h.pos), hatch + " is not needed here"})
		}
	}
}

// isFloat sees through names: a type built on a float is a float.
func isFloat(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsFloat|types.IsComplex) != 0
}

// coreType is the underlying type, for a type parameter that of its first term.
func coreType(t types.Type) types.Type {
	tp, ok := types.Unalias(t).(*types.TypeParam)
	if !ok {
		return t.Underlying()
	}
	iface, _ := tp.Constraint().Underlying().(*types.Interface)
	if iface == nil || iface.NumEmbeddeds() == 0 {
		return t.Underlying()
	}
	if u, ok := iface.EmbeddedType(0).(*types.Union); ok {
		return u.Term(0).Type().Underlying()
	}
	return iface.EmbeddedType(0).Underlying()
}
