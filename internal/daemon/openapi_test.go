package daemon

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

//go:generate go test . -run TestOpenAPIIsCurrent -update

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

// TestOpenAPIIsCurrent compares docs/openapi.json with the routes and types as they are.
func TestOpenAPIIsCurrent(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "openapi.json")
	want, err := describe((&server{}).methods())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), string(want)); diff != "" {
		t.Errorf("docs/openapi.json is stale: run go generate ./internal/daemon (-file +routes):\n%s", diff)
	}
}

// TestOpenAPIIsValid has the document read by a validator.
func TestOpenAPIIsValid(t *testing.T) {
	document(t)
}

func document(t *testing.T) *openapi3.T {
	t.Helper()
	b, err := describe((&server{}).methods())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestEveryMethodHasARoute: what can be asked on the socket can be asked by REST, but for what is for the loop alone.
func TestEveryMethodHasARoute(t *testing.T) {
	loop := map[string]bool{}
	for _, name := range []string{
		"run", "wait", "window_open", "window_close", "verdict", "judge", "evidence", "query", "get", "trace", "expression", "doctor", "follow", "events", "down", "listen", "dashboard", "bundle",
	} {
		loop[name] = true
	}
	routed := map[string]bool{}
	for _, r := range routes() {
		routed[r.method] = true
	}
	for _, m := range (&server{}).methods() {
		if !routed[m.name] && !loop[m.name] {
			t.Errorf("%s has no route", m.name)
		}
	}
}
