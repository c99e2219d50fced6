package assertions

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

func TestReferenceIsCurrent(t *testing.T) {
	file := filepath.Join("..", "docs", "checks.md")
	if *update {
		if err := os.WriteFile(file, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), Reference()); diff != "" {
		t.Errorf("docs/checks.md is stale: run go generate ./assertions (-file +table):\n%s", diff)
	}
}

// Every example of the reference must compile, and evaluate without a panic over nothing at all.
func TestExamplesCompile(t *testing.T) {
	t.Parallel()
	for _, f := range Functions() {
		if f.Doc == "" || f.Example == "" {
			t.Errorf("%s has no doc or no example", f.Name)
		}
		if _, err := compileExpectation(f.Example); err != nil {
			t.Errorf("example of %s: %v", f.Name, err)
		}
		if _, err := CheckExpression("http", f.Example, Input{}); err != nil {
			t.Errorf("example of %s: %v", f.Name, err)
		}
	}
}

// The checks of the cases that load must satisfy the schema, and a mistake must not.
func TestSchema(t *testing.T) {
	t.Parallel()
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var doc any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(doc)
	}
	good := "exercise: rush\nbuiltin: {keepalive-lost: a CGI}\nchecks:\n- {name: a, on: http, expect: none(true), severity: warning, confidence: 0.9, allow_empty: true}\n"
	if err := valid(good); err != nil {
		t.Errorf("a good file: %v", err)
	}
	for _, bad := range []string{"excercise: rush\n", "checks: [{name: a, on: http}]\n", "checks: [{name: a, on: http, expect: 'none(true)', severity: fatal}]\n",
		"builtin: {keep-alive: x}\n"} {
		if valid(bad) == nil {
			t.Errorf("the schema takes %q", bad)
		}
	}
	if !strings.Contains(string(data), `"additionalProperties": false`) {
		t.Error("the schema takes unknown keys")
	}
}
