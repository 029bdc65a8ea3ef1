package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A module with every way in which a test can end.
var planted = map[string]string{
	"go.mod": "module planted\n\ngo 1.26\n",
	"good/good_test.go": `package good
import "testing"
func TestOne(t *testing.T) { t.Log("quiet") }
func TestTwo(t *testing.T) { t.Skip("no such machine") }
func TestTable(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Run("c", func(t *testing.T) {}) })
}
`,
	"bad/bad_test.go": `package bad
import "testing"
func TestFine(t *testing.T) {}
func TestLeaf(t *testing.T) {
	t.Run("a", func(t *testing.T) { t.Error("leaf went wrong") })
	t.Run("b", func(t *testing.T) {})
}
func TestAlone(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Error("parent went wrong")
}
`,
	"panics/p_test.go": `package panics
import "testing"
func TestPanics(t *testing.T) { panic("out of cheese") }
`,
	"exits/e_test.go": `package exits
import ("os"; "testing")
func TestExits(t *testing.T) { os.Exit(3) }
`,
	"broken/b_test.go": "package broken\nfunc TestX( {}\n",
	"typo/t_test.go":   "package typo\nimport \"testing\"\nfunc TestX(t *testing.T) { undefinedName() }\n",
	"empty/e.go":       "package empty\n",
}

func TestEveryEndOfATestIsCounted(t *testing.T) {
	dir := t.TempDir()
	for name, text := range planted {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		pkgs  string
		want  counts
		says  []string
		quiet []string
	}{
		{"./good", counts{3, 0, 1}, []string{"skipped: planted/good TestTwo (good_test.go:4: no such machine)", "ok   planted/good"}, []string{"quiet"}},
		{"./bad", counts{3, 2, 0}, []string{"leaf went wrong", "parent went wrong", "failed:  planted/bad TestLeaf/a", "FAIL planted/bad"}, nil},
		{"./panics", counts{0, 1, 0}, []string{"out of cheese"}, nil},
		{"./exits", counts{0, 1, 0}, []string{"planted/exits", "TestExits"}, nil},
		{"./broken", counts{0, 1, 0}, []string{"b_test.go:2"}, nil},
		{"./typo", counts{0, 1, 0}, []string{"undefinedName"}, nil},
		{"./empty", counts{0, 1, 0}, []string{"nothing was tested"}, nil},
		{"./...", counts{6, 6, 1}, nil, nil},
	} {
		t.Run(c.pkgs, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "test", "-json", c.pkgs)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
			stream, err := cmd.Output()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "counts")
			var out, errs bytes.Buffer
			code := run([]string{"-counts", file}, bytes.NewReader(stream), &out, &errs)
			if wantCode := min(c.want.failed, 1); code != wantCode {
				t.Errorf("exit code %d, want %d: %s", code, wantCode, errs.String())
			}
			written, err := os.ReadFile(file)
			if err != nil || string(written) != c.want.line() {
				t.Errorf("counts %q (%v), want %q", written, err, c.want.line())
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("does not say %q", s)
				}
			}
			for _, s := range c.quiet {
				if strings.Contains(out.String(), s) {
					t.Errorf("says %q", s)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s\nstream:\n%s", out.String(), stream)
			}
		})
	}
}

func TestWhatIsNotJSONIsPassedOn(t *testing.T) {
	var out bytes.Buffer
	run(nil, strings.NewReader("go: updates to go.mod needed\n"), &out, &out)
	if !strings.Contains(out.String(), "updates to go.mod needed") {
		t.Errorf("lost: %q", out.String())
	}
}
