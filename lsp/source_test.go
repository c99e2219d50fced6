package lsp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// TestHandlers: the routes of a service's own package and of one that it imports have figures and marks; the same routes in
// somebody else's file have none.
func TestHandlers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) *document {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return newDocument(uriOf(path), 1, text, false)
	}
	write("go.mod", "module example.com/pair\n")
	write("devloop.yaml", "version: 1\nservices:\n  stock:\n    go: ./cmd/stock\n    ports: {http: 8080}\n  basket:\n    command: node app.js\n    watch: [\"basket/**\"]\n    ports: {http: 8081}\n")
	handlers := "import \"net/http\"\n\nfunc Serve() {\n\thttp.HandleFunc(\"GET /items/{id}\", nil)\n}\n"
	own := write("cmd/stock/main.go", "package main\n\nimport _ \"example.com/pair/internal/items\"\n\nfunc main() {}\n")
	imported := write("internal/items/items.go", "package items\n\n"+handlers)
	foreign := write("internal/other/other.go", "package other\n\n"+handlers)
	basket := write("basket/app.js", "const app = require('express')()\napp.get('/baskets/:id', h)\napp.get('/baskets/:id/lines', h)\n")
	caller := write("basket/stock.js", "const a = await fetch(`${base}/items/${id}`)\nconst b = await fetch('http://stock:8080/items/' + id)\n"+
		"const c = await fetch('http://other/items/1')\nconst d = await fetch(base + '/baskets/' + id)\n")
	s := &server{o: Options{Workspace: dir}, folder: dir, docs: map[string]*document{}, live: &live{}}
	s.live.facts = facts{connected: true, status: &control.Status{Revision: "r3"}, endpoints: []query.Stats{
		{Group: "stock GET /items/{id}", Calls: 127, Errors: 3, ErrorRate: 3. / 127, P99: 230}, {Group: "basket GET /baskets/{id}", Calls: 1, P99: 0.25}, {Group: "basket GET /baskets/9", Calls: 2, P99: 1},
	}, iteration: &traffic.Iteration{ID: "i9", Revision: "r3", Checks: []traffic.CheckResult{
		{Name: "items answer", File: "a.netcheck.yaml", Line: 4, Verdict: traffic.Fail, Reason: "3 of 127", Evidence: []traffic.Evidence{
			{Summary: "front → stock GET /items/7 500 in 1 ms"}, {Summary: "front → stock GET /items/8 500 in 1 ms"}}},
	}}}
	titles := func(d *document) string {
		var list []string
		for _, l := range s.lenses(d) {
			list = append(list, l.Command.Title)
		}
		return strings.Join(list, "\n")
	}
	for _, c := range []struct {
		d    *document
		want string
	}{
		{own, ""}, {foreign, ""},
		{imported, "127 calls · 2.4 % errors · p99 230 ms · r3"},
		{basket, "3 calls · 0.0 % errors · p99 ≤ 1 ms · r3"},
		{caller, "→ stock · 127 calls · 2.4 % errors · p99 230 ms · r3\n→ stock · 127 calls · 2.4 % errors · p99 230 ms · r3"},
	} {
		if got := titles(c.d); got != c.want {
			t.Errorf("%s: %q, want %q", c.d.path, got, c.want)
		}
	}
	if list := s.diagnose(imported); len(list) != 1 || list[0].Severity != SeverityError || list[0].Range.Start.Line != 5 || len(list[0].RelatedInformation) != 2 ||
		list[0].RelatedInformation[1].Location.Range.Start.Line != 3 {
		t.Errorf("the mark: %+v", list)
	}
	if list := s.diagnose(foreign); len(list) != 0 {
		t.Errorf("a file of nobody is marked: %+v", list)
	}
	check := newDocument(uriOf(filepath.Join(dir, "a.netcheck.yaml")), 1, "checks:\n  - name: a\n    on: dst.service.name == \"stock\" && path == \"/items/7\"\n    expect: none(path == \"/nowhere\")\n", false)
	at := func(word string) Position { return check.at(strings.Index(check.text, word)) }
	if list := s.definition(check, at("/items")); len(list) != 1 || list[0].URI != imported.uri || list[0].Range.Start.Line != 5 {
		t.Errorf("where the path is served: %+v", list)
	}
	if list := s.definition(check, at("/nowhere")); len(list) != 0 {
		t.Errorf("a path that nobody serves: %+v", list)
	}
	if err := os.WriteFile(imported.path, []byte(strings.Replace(imported.text, "/items/", "/goods/", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if list := s.definition(check, at("/items")); len(list) != 0 {
		t.Errorf("a path that is served no more: %+v", list)
	}
	s.live.facts.status.Stale = []string{"stock"}
	if got := titles(imported); !strings.HasSuffix(got, "· stale") {
		t.Errorf("saved since: %q", got)
	}
	if list := s.diagnose(imported); len(list) != 1 || list[0].Severity != SeverityInformation {
		t.Errorf("the stale mark: %+v", list)
	}
}
