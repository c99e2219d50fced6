package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLayers parses the imports of all files, those for other platforms too, so it needs neither toolchain nor network.
func TestLayers(t *testing.T) {
	t.Parallel()
	for _, v := range Check(Rules(), read(t, "../..")) {
		t.Error(v)
	}
}

func read(t *testing.T, root string) []Package {
	imports := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); p != root && (base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") && base != ".." || nested(p)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		if imports[dir] == nil {
			imports[dir] = map[string]bool{}
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[dir][strings.TrimPrefix(name, Module+"/")] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var packages []Package
	for dir, set := range imports {
		p := Package{Path: dir}
		for name := range set {
			p.Imports = append(p.Imports, name)
		}
		slices.Sort(p.Imports)
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	if len(packages) < 10 {
		t.Fatalf("found only %d packages under %s", len(packages), root)
	}
	return packages
}

// nested says whether a folder begins a module of its own.
func nested(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// Each rule is broken once here, so that none of them is asleep.
func TestEveryRuleCanFail(t *testing.T) {
	t.Parallel()
	broken := []Package{
		{"traffic", []string{"time", "github.com/x/y", "internal/config"}},
		{"keylog", []string{"traffic"}},
		{"dissect/http1", []string{"store"}}, // reaches capture through store; also goes up
		{"traffic/redact", []string{"filter"}},
		{"store", []string{"capture", "assertions"}},
		{"capture", []string{"github.com/cilium/ebpf/link"}}, // allowed there
		{"mcp", []string{"internal/daemon", "lsp", "github.com/fsnotify/fsnotify"}},
		{"lsp", []string{"k8s.io/client-go/rest"}},
		{"localenv", []string{"github.com/cilium/ebpf", "devloop"}},
		{"devloop", []string{"mcp"}},
		{"assertions", []string{"examples/shop"}},
		{"examples/shop", nil},
		{"cmd/devloop-agent", []string{"filter"}},
		{"filter", []string{"cel.dev/cel-go/cel"}},
		{"kindenv", []string{"internal/daemon", "internal/testenv"}},
		{"internal/daemon", []string{"cmd/devloop-agent", "internal/nodeagent"}},
		{"internal/nodeagent", []string{"store"}},
		{"internal/config", []string{"store"}},
	}
	failed := map[string]bool{}
	for _, v := range Check(Rules(), broken) {
		failed[v.Rule.Name] = true
		if v.Rule.Reason == "" || !strings.Contains(v.String(), v.Rule.Reason) {
			t.Errorf("%q is told without its reason", v.Rule.Name)
		}
		if v.Path[0] == "capture" {
			t.Errorf("capture may load eBPF, but: %s", v)
		}
	}
	for _, r := range Rules() {
		if !failed[r.Name] {
			t.Errorf("no broken package breaks the rule %q", r.Name)
		}
	}
}

func TestDeepRulesShowTheWay(t *testing.T) {
	t.Parallel()
	rule := Rule{Name: "deep", From: []string{"a/..."}, Forbid: []string{"c"}, Deep: true}
	got := Check([]Rule{rule}, []Package{{"a/x", []string{"b"}}, {"b", []string{"c"}}, {"c", nil}})
	if len(got) != 1 {
		t.Fatalf("got %d violations, want 1", len(got))
	}
	if diff := cmp.Diff([]string{"a/x", "b", "c"}, got[0].Path); diff != "" {
		t.Errorf("the way (-want +got):\n%s", diff)
	}
}
