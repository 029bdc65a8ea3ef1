package lint

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestDocumentsPointAtWhatExists(t *testing.T) {
	checked := 0
	for _, name := range documents(t, root) {
		checked++
		for _, text := range checkLinks(os.DirFS(root), name) {
			t.Error(text)
		}
	}
	if checked == 0 {
		t.Skip("no README.md and no docs yet")
	}
}

func TestREADMENamesMakeTargetsThatExist(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if os.IsNotExist(err) {
		t.Skip("no README.md yet")
	}
	makefile, err2 := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for _, text := range checkTargets(string(readme), string(makefile)) {
		t.Error("README.md: ", text)
	}
}

func TestDocsFindPlantedFaults(t *testing.T) {
	bed := os.DirFS("testdata/docs")
	got := checkLinks(bed, "README.md")
	want := []string{
		`README.md:4: "missing.md" does not exist`,
		`README.md:5: "sub/page.md#nowhere" has no such heading`,
		`README.md:6: "logo.png" does not exist`,
		`README.md:7: "#nothing-here" has no such heading`,
		`README.md:19: "absent/" does not exist`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := checkLinks(bed, "sub/page.md"); len(got) != 0 {
		t.Errorf("sound links are reported: %q", got)
	}
	readme, err := fs.ReadFile(bed, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	got = checkTargets(string(readme), "build: ## x\n\tgo build\ntest lint: build\n.PHONY: vanish\n")
	if want := []string{"make tset: no such target", "make vanish: no such target"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// documents lists README.md and the Markdown under docs and the packages.
func documents(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (base[0] == '.' || slices.Contains([]string{"testdata", "node_modules", "bin", "dist"}, base)) {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(base, ".md") {
			out = append(out, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	// As in [text](target "title"), ![alt](target), [label]: target, src="target".
	linkMarks = []*regexp.Regexp{
		regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`),
		regexp.MustCompile(`^\s*\[[^\]]+\]:\s+(\S+)`),
		regexp.MustCompile(`(?:src|href|srcset)="([^"]+)"`),
	}
	codeSpan = regexp.MustCompile("`[^`]*`")
	outside  = regexp.MustCompile(`^([a-z][a-z0-9+.-]*:|//|/)`)
	heading  = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
)

// checkLinks reports relative links of a document that lead nowhere.
func checkLinks(repo fs.FS, name string) (out []string) {
	prose := proseLines(repo, name)
	for i, line := range prose {
		line = codeSpan.ReplaceAllString(line, "")
		for _, mark := range linkMarks {
			for _, m := range mark.FindAllStringSubmatch(line, -1) {
				if outside.MatchString(m[1]) {
					continue
				}
				if why := leadsNowhere(repo, name, m[1]); why != "" {
					out = append(out, name+":"+strconv.Itoa(i+1)+": \""+m[1]+"\" "+why)
				}
			}
		}
	}
	return out
}

func leadsNowhere(repo fs.FS, name, link string) string {
	file, anchor, _ := strings.Cut(link, "#")
	target := name
	if file != "" {
		target = path.Join(path.Dir(name), file)
	}
	if _, err := fs.Stat(repo, target); err != nil {
		return "does not exist"
	}
	if anchor == "" || !strings.HasSuffix(target, ".md") {
		return ""
	}
	for _, line := range proseLines(repo, target) {
		if m := heading.FindStringSubmatch(line); m != nil && slug(m[1]) == anchor || strings.Contains(line, `id="`+anchor+`"`) {
			return ""
		}
	}
	return "has no such heading"
}

// proseLines reads a document with its code blocks blanked.
func proseLines(repo fs.FS, name string) []string {
	text, err := fs.ReadFile(repo, name)
	if err != nil {
		return nil
	}
	lines, fenced := strings.Split(string(text), "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return lines
}

// slug is the anchor that hosts give a heading.
func slug(title string) string {
	title = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
	title = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(title), "")
	return strings.ReplaceAll(title, " ", "-")
}

var (
	codeText   = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	makeCall   = regexp.MustCompile(`\bmake ((?:[a-z][a-z0-9-]*[ \t]*)+)`)
	makeTarget = regexp.MustCompile(`(?m)^([a-zA-Z][\w /-]*?)\s*:([^=]|$)`)
)

// checkTargets reports `make x` in the code of a document without a target x.
func checkTargets(doc, makefile string) (out []string) {
	known := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(makefile, -1) {
		for name := range strings.FieldsSeq(m[1]) {
			known[name] = true
		}
	}
	for _, code := range codeText.FindAllString(doc, -1) {
		for _, m := range makeCall.FindAllStringSubmatch(code, -1) {
			for name := range strings.FieldsSeq(m[1]) {
				if !known[name] {
					out = append(out, "make "+name+": no such target")
				}
			}
		}
	}
	return out
}
