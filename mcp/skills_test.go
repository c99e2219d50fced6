package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/testenv"
)

var (
	skillName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	link      = regexp.MustCompile(`\]\(([^)]+)\)`)
	block     = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")
	recipe    = regexp.MustCompile("on `([^`]+)`(?:, `by: [^`]+`)?, expect `([^`]+)`")
	expected  = regexp.MustCompile("\\| `([^`]+)`")
)

// TestSkillsAreValid: front matter as the Agent Skills format wants it, links that lead somewhere, tools that exist, filters
// and checks that compile.
func TestSkillsAreValid(t *testing.T) {
	files, err := filepath.Glob("../skills/*/SKILL.md")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	c, err := choose(Options{Toolsets: []string{"all"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		name := filepath.Base(dir)
		parts := strings.SplitN(string(text), "---\n", 3)
		var front struct {
			Name, Description, License, Compatibility string
			Invocable                                 *bool `yaml:"user-invocable"`
		}
		d := yaml.NewDecoder(strings.NewReader(parts[1]))
		d.KnownFields(true)
		if len(parts) != 3 || parts[0] != "" || d.Decode(&front) != nil {
			t.Errorf("%s: no valid front matter", file)
			continue
		}
		if front.Name != name || !skillName.MatchString(name) || len(name) > 64 || front.Description == "" || len(front.Description) > 1024 || len(front.Compatibility) > 500 {
			t.Errorf("%s: %+v", file, front)
		}
		if n := bytes.Count(text, []byte("\n")); n >= 500 {
			t.Errorf("%s has %d lines", file, n)
		}
		pages, err := filepath.Glob(filepath.Join(dir, "references", "*.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range append(pages, file) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			checkPage(t, page, string(text), c)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(dir, m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// checkPage looks for tools, filters and checks that there are not.
func checkPage(t *testing.T, page, text string, c *chosen) {
	t.Helper()
	for _, m := range namedTools.FindAllStringSubmatch(text, -1) {
		_, tool := c.every[m[1]]
		_, field := filter.Lookup(m[1])
		if !tool && !field && !strings.Contains(" allow_empty max_seconds trace_id json_number json_has json_all joined_by latency_ms filter_id connection_completeness ", " "+m[1]+" ") {
			t.Errorf("%s names %s, which is neither a tool nor a field", page, m[1])
		}
	}
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		if m[1] == "yaml" {
			if _, err := assertions.Parse("a.netcheck.yaml", []byte(m[2])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
			continue
		}
		for line := range strings.Lines(m[2]) {
			if line = strings.TrimSpace(line); line != "" {
				if _, err := filter.Compile(line); err != nil {
					t.Errorf("%s: %s: %v", page, line, err)
				}
			}
		}
	}
	try := func(on, expect string) {
		suite := fmt.Sprintf("checks:\n  - name: a\n    on: %q\n    expect: %q\n", on, expect)
		if _, err := assertions.Parse("a.netcheck.yaml", []byte(suite)); err != nil {
			t.Errorf("%s: on %s expect %s: %v", page, on, expect, err)
		}
	}
	for _, m := range recipe.FindAllStringSubmatch(text, -1) {
		try(m[1], m[2])
	}
	if strings.Contains(text, "| promise | check |") {
		for _, m := range expected.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "on:") {
				try("http", m[1])
			}
		}
	}
}

// TestServerJSON: what registries read. Its schema is that of 2025-12-11, as far as it concerns a server without packages.
func TestServerJSON(t *testing.T) {
	data, err := os.ReadFile("../server.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal([]byte(`{"type": "object", "additionalProperties": false, "required": ["$schema", "name", "description", "version"], "properties": {
		"$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
		"name": {"type": "string", "minLength": 3, "maxLength": 200, "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$"},
		"title": {"type": "string", "minLength": 1, "maxLength": 100}, "description": {"type": "string", "minLength": 1, "maxLength": 100},
		"version": {"type": "string", "maxLength": 255}, "websiteUrl": {"type": "string"},
		"repository": {"type": "object", "required": ["url", "source"]}}}`), &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var server any
	if err := json.Unmarshal(data, &server); err != nil {
		t.Fatal(err)
	}
	if err := resolved.Validate(server); err != nil {
		t.Error(err)
	}
}

// TestPluginInstalls: Claude Code takes the marketplace and the plugin of this repository, with its skills and servers.
func TestPluginInstalls(t *testing.T) {
	testenv.NeedsFull(t)
	path := testenv.NeedsClients(t)
	repository, home := t.TempDir(), t.TempDir()
	for _, part := range []string{".claude-plugin", "plugin", "skills"} {
		if out, err := exec.Command("cp", "-a", "../"+part, repository).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	claude := filepath.Join(filepath.Dir(filepath.SplitList(path)[1]), "@anthropic-ai", "claude-code-linux-x64", "claude")
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, claude, append([]string{"plugin"}, args...)...)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "HOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("claude plugin %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, folder := range []string{repository, filepath.Join(repository, "plugin")} {
		if out := run("validate", folder); strings.Contains(out, "warning") {
			t.Errorf("validate %s:\n%s", folder, out)
		}
	}
	run("marketplace", "add", repository)
	run("install", "devloop@devloop")
	out := run("details", "devloop")
	for _, want := range []string{"Skills (5)", "verify-change", "MCP servers (1)", "LSP servers (1)"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
