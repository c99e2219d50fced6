package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/assertions/baseline"
)

// TestBaselineFile: what --baseline names is read, or refused with what is wrong with it.
func TestBaselineFile(t *testing.T) {
	b, err := baseline.New(baseline.Meta{Name: "rush"}, []*baseline.Run{{ID: "i1", Edges: map[string]*baseline.Edge{"a -> b:80": {Calls: 1}},
		Endpoints: map[string]*baseline.Endpoint{"a -> b:80 GET /": {Edge: "a -> b:80", Calls: 1, Outcomes: map[string]int{"200": 1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := baseline.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"whole":    {string(text), ""},
		"cut":      {string(text[:len(text)/2]), "cut off"},
		"conflict": {"<<<<<<< HEAD\n" + string(text), "merge conflict"},
		"later":    {strings.Replace(string(text), "version: 1", "version: 99", 1), "version"},
		"empty":    {"", "no version"},
	} {
		file := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := baselineFile(file)
		switch {
		case c.says == "" && (err != nil || f.Baseline == nil || f.Baseline.Name != "rush"):
			t.Errorf("%s: %+v, %v", name, f, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, err := baselineFile(""); err != nil || f.Baseline != nil {
		t.Errorf("none: %+v, %v", f, err)
	}
	if _, err := baselineFile(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there is read")
	}
}
