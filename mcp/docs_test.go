package mcp

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

//go:generate go test . -run TestReferenceIsCurrent -update

const (
	toolsBegin = "<!-- tools: begin, generated from the server's tool list by `go generate ./mcp`; do not edit -->\n"
	toolsEnd   = "<!-- tools: end -->\n"
)

// TestReferenceIsCurrent compares the list of tools in docs/mcp.md with the server's. The text around it is written by hand.
func TestReferenceIsCurrent(t *testing.T) {
	file := filepath.Join("..", "docs", "mcp.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(page), toolsBegin)
	have, after, ends := strings.Cut(rest, toolsEnd)
	if !begins || !ends {
		t.Fatalf("%s lacks the marks %q and %q", file, toolsBegin, toolsEnd)
	}
	want := "\n" + reference(t)
	if *update {
		if err := os.WriteFile(file, []byte(before+toolsBegin+want+toolsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(have, want); diff != "" {
		t.Errorf("docs/mcp.md is stale: run go generate ./mcp (-file +tools):\n%s", diff)
	}
}

// schema is what the reference shows of a JSON Schema.
type schema struct {
	Properties map[string]property
	Required   []string
}

type property struct {
	Type        any
	Description string
}

// UnmarshalJSON takes true, which is any value, for a property without a type.
func (p *property) UnmarshalJSON(b []byte) error {
	if string(b) == "true" {
		return nil
	}
	type plain property
	return json.Unmarshal(b, (*plain)(p))
}

// reference lists the tools of each toolset.
func reference(t *testing.T) string {
	var b strings.Builder
	said := map[string]bool{}
	every, err := choose(Options{Toolsets: []string{"all"}})
	if err != nil {
		t.Fatal(err)
	}
	guarded := map[string]bool{}
	for name, h := range every.every {
		guarded[name] = h.guarded
	}
	for _, set := range toolsets {
		fmt.Fprintf(&b, "### Toolset `%s`: %s\n\n", set.name, set.what)
		for _, tool := range listed(t, Options{Toolsets: []string{set.name}, AllowDestructive: true}) {
			if said[tool.Name] {
				fmt.Fprintf(&b, "`%s`: see above.\n\n", tool.Name)
				continue
			}
			said[tool.Name] = true
			b.WriteString(described(t, tool, guarded[tool.Name]))
		}
	}
	return b.String()
}

// described says what a tool does, takes and answers.
func described(t *testing.T, tool *mcp.Tool, guarded bool) string {
	var b strings.Builder
	kind := "runs things"
	switch {
	case tool.Annotations.ReadOnlyHint:
		kind = "only looks"
	case guarded:
		kind = "with `--allow-destructive`"
	case !*tool.Annotations.OpenWorldHint && tool.Annotations.IdempotentHint:
		kind = "changes settings"
	case !*tool.Annotations.OpenWorldHint:
		kind = "makes something"
	}
	fmt.Fprintf(&b, "#### %s\n\n%s *(%s)*\n\n", tool.Name, tool.Description, kind)
	in, out := schemaOf(t, tool.InputSchema), schemaOf(t, tool.OutputSchema)
	if len(in.Properties) > 0 {
		b.WriteString("| argument | type | |\n|---|---|---|\n")
	}
	for _, name := range slices.Sorted(maps.Keys(in.Properties)) {
		p := in.Properties[name]
		needed := ""
		if slices.Contains(in.Required, name) {
			needed = ", required"
		}
		fmt.Fprintf(&b, "| `%s` | %s%s | %s |\n", name, typeOf(p.Type), needed, strings.ReplaceAll(p.Description, "|", `\|`))
	}
	if len(in.Properties) > 0 {
		b.WriteString("\n")
	}
	names := slices.Sorted(maps.Keys(out.Properties))
	fmt.Fprintf(&b, "Answers with `%s`.\n\n", strings.Join(names, "` `"))
	return b.String()
}

func schemaOf(t *testing.T, v any) (s schema) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// typeOf leaves out that a list may be null.
func typeOf(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var names []string
	for _, name := range list {
		if name != "null" {
			names = append(names, fmt.Sprint(name))
		}
	}
	return strings.Join(names, " or ")
}
