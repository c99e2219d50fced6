package mcp

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// answers are the types in which a field's name has to be.
var answers = map[string]reflect.Type{
	"download": reflect.TypeFor[Download](), "workloads": reflect.TypeFor[query.WorkloadsAnswer](), "ips": reflect.TypeFor[query.IPsAnswer](),
	"calls": reflect.TypeFor[query.CallsAnswer](), "call": reflect.TypeFor[query.CallAnswer](), "stats": reflect.TypeFor[query.StatsAnswer](),
	"flows": reflect.TypeFor[query.FlowsAnswer](), "summary": reflect.TypeFor[query.FlowSummary](), "dissection": reflect.TypeFor[query.DissectionStatus](),
	"boundaries": reflect.TypeFor[query.Boundaries](), "l7boundaries": reflect.TypeFor[query.L7Boundaries](), "created": reflect.TypeFor[query.SnapshotCreated](),
	"snapshot": reflect.TypeFor[query.SnapshotInfo](), "snapshots": reflect.TypeFor[query.SnapshotsAnswer](), "deleted": reflect.TypeFor[query.Deleted](),
	"pcap": reflect.TypeFor[query.PCAPAnswer](), "job": reflect.TypeFor[query.DissectionJob](), "cloud": reflect.TypeFor[CloudStatus](),
	"cloudjob": reflect.TypeFor[CloudJob](), "databases": reflect.TypeFor[query.DatabasesAnswer](), "compact": reflect.TypeFor[traffic.CompactCall](),
	"end": reflect.TypeFor[traffic.CompactEnd](), "full": reflect.TypeFor[traffic.FullCall](), "flow": reflect.TypeFor[query.FlowRow](),
	"tcp": reflect.TypeFor[traffic.TCPMetrics](), "raw_capture": reflect.TypeFor[query.RawCapture](),
}

// jsonNames are the names of all fields of a type and of what it holds.
func jsonNames(t reflect.Type, into map[string]bool, seen map[reflect.Type]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			into[name] = true
		}
		jsonNames(f.Type, into, seen)
	}
}

var (
	testFunc  = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	namesTest = regexp.MustCompile(`^Test[A-Z][A-Za-z0-9_]*( Test[A-Z][A-Za-z0-9_]*)*$`)
)

// testNames are those of all tests of the repository, with their folders.
func testNames(t *testing.T) map[string]string {
	names := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names[string(m[1])] = filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// compatibility checks names, and keeps what was found out of them.
type compatibility struct {
	t     *testing.T
	tools map[string]schema
	rest  map[string]map[string]any
	cli   string
	tests map[string]string
	page  strings.Builder
}

// TestKubesharkNames goes through every name of Kubeshark's: it is here, and this test has seen it, or the page says why not.
func TestKubesharkNames(t *testing.T) {
	c := &compatibility{t: t, tools: map[string]schema{}, tests: testNames(t)}
	for _, tool := range listed(t, Options{Toolsets: []string{"all"}, AllowDestructive: true}) {
		c.tools[tool.Name] = schemaOf(t, tool.InputSchema)
	}
	document, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(document, &api); err != nil {
		t.Fatal(err)
	}
	c.rest = api.Paths
	cli, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	_, c.cli, _ = strings.Cut(string(cli), "devloop mcp")
	list, err := os.ReadFile("testdata/kubeshark.txt")
	if err != nil {
		t.Fatal(err)
	}
	c.page.WriteString(kubesharkHead)
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if section, ok := strings.CutPrefix(line, "== "); ok {
			fmt.Fprintf(&c.page, "\n## %s\n\n| name | here | shown by, or why not |\n|---|---|---|\n", section)
		} else if line != "" && !strings.HasPrefix(line, "#") {
			c.line(line)
		}
	}
	page := filepath.Join("..", "docs", "kubeshark-compatibility.md")
	if *update {
		if err := os.WriteFile(page, []byte(c.page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), c.page.String()); diff != "" {
		t.Errorf("%s is stale: run go generate ./mcp:\n%s", page, diff)
	}
}

const kubesharkHead = "<!-- Written by `go test ./mcp -run TestKubesharkNames -update` from mcp/testdata/kubeshark.txt. Do not edit. -->\n\n" +
	"# Compatibility with Kubeshark\n\n" +
	"Every tool, parameter, field, prompt, resource, endpoint, flag and KFL variable that Kubeshark's public documentation, CLI and skills name. What is here has\n" +
	"the name that it has there, unless the middle column has another. `TestKubesharkNames` looks each of them up in the tools' schemas, the types of the\n" +
	"answers, the OpenAPI document, the flags or the field table; where a further test shows what it does, that is named as well. Where Kubeshark's\n" +
	"documents disagree with each other, the union is taken.\n"

// line checks one line of the list, and writes its rows.
func (c *compatibility) line(line string) {
	left, remark, _ := strings.Cut(line, " :: ")
	words := strings.Fields(left)
	kind, where, names := words[0], words[1], words[2:]
	proof := "`TestKubesharkNames`"
	switch {
	case kind == "no":
		proof = remark
	case namesTest.MatchString(remark):
		for test := range strings.FieldsSeq(remark) {
			if c.tests[test] == "" {
				c.t.Errorf("%s: there is no test %s", line, test)
			}
			proof += ", `" + test + "` (" + c.tests[test] + ")"
		}
	case remark != "":
		proof += ": " + remark
	}
	for _, name := range names {
		here, why := c.check(kind, where, name)
		shown := proof
		if why != "" {
			shown = why
		}
		label := "`" + name + "`"
		if kind == "param" || kind == "rest" || kind == "query" || kind == "no" || kind == "field" {
			label = "`" + where + "` " + label
		}
		fmt.Fprintf(&c.page, "| %s | %s | %s |\n", label, here, shown)
	}
}

// check says what a name is here; why is the reason where it is not there yet.
func (c *compatibility) check(kind, where, name string) (here, why string) {
	ok := true
	here = "yes"
	switch kind {
	case "no":
		return "no", ""
	case "tool":
		_, ok = c.tools[newName(name)]
		if newName(name) != name {
			here = "`" + newName(name) + "`; this name is understood"
		}
	case "param":
		tool := newName(where)
		if _, ok = c.tools[tool].Properties[name]; !ok {
			ok = understood(tool, name)
			here = "understood"
		}
	case "field":
		fields := map[string]bool{}
		t, known := answers[where]
		if !known {
			c.t.Fatalf("field %s %s: no such answer", where, name)
		}
		jsonNames(t, fields, map[reflect.Type]bool{})
		ok = fields[name]
	case "resource":
		_, _, ok = resourceOf(name)
	case "prompt":
		now, older := olderPrompts[name]
		if older {
			here = "`" + now + "`; this name is understood"
		} else {
			now = name
		}
		ok = slices.ContainsFunc(prompts, func(p prompt) bool { return p.name == now })
	case "flag":
		ok = strings.Contains(c.cli, name)
	case "rest":
		_, ok = c.rest[name][strings.ToLower(where)]
	case "query":
		ok = c.takes(where, name)
	case "func":
		_, err := filter.Compile(map[string]string{
			"contains": `path.contains("a")`, "startsWith": `path.startsWith("a")`, "endsWith": `path.endsWith("a")`, "matches": `path.matches("a")`,
			"size": `size(path) > 1`, "map_get": `map_get(request.headers, "a", "") == ""`, "timestamp": `timestamp > timestamp("2026-01-02T15:04:05Z")`,
			"duration": `latency > duration("5m")`, "now": `timestamp < now()`,
			"exists": `dns_answers.exists(x, x.contains("a"))`, "in": `"shop" in namespaces`,
		}[name])
		ok = err == nil
	case "kfl":
		f, known := filter.Lookup(name)
		if ok = known; known && f.Stub {
			here, why = "compiles, always empty", "its protocol is not dissected yet"
		}
	default:
		c.t.Fatalf("no kind %q", kind)
	}
	if !ok {
		c.t.Errorf("%s %s %s: it is not here", kind, where, name)
	}
	return here, why
}

// takes says whether a route has a parameter.
func (c *compatibility) takes(route, name string) bool {
	get, _ := c.rest[route]["get"].(map[string]any)
	all, _ := get["parameters"].([]any)
	return slices.ContainsFunc(all, func(one any) bool {
		parameter, _ := one.(map[string]any)
		return parameter["name"] == name
	})
}

// understood says whether an argument is changed into one that there is.
func understood(tool, name string) bool {
	change, ok := olderArguments[tool]
	if !ok {
		return false
	}
	a := map[string]any{name: "x"}
	change(a)
	_, stays := a[name]
	return !stays
}
