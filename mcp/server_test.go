package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// connect is a client of a server that never reaches a daemon.
func connect(t *testing.T, o Options) *mcp.ClientSession {
	t.Helper()
	if o.Connect == nil {
		o.Connect = func(context.Context) (*control.Client, error) {
			return nil, &control.Error{What: "no devloop.yaml here", Hint: "devloop init"}
		}
	}
	mine, theirs := mcp.NewInMemoryTransports()
	server, err := New(o).Connect(t.Context(), mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// TestToolsAreAsDocumented compares every tool's name, schemas and annotations with the golden file: a change of them is
// a change for every agent, and is read like code.
func TestToolsAreAsDocumented(t *testing.T) {
	list, err := connect(t, Options{}).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(list.Tools, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "tools.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("tools differ from %s (-want +got; -update rewrites it):\n%s", golden, diff)
	}
}

// TestEveryToolSaysAll: four annotations, an output schema, and a description within what clients keep.
func TestEveryToolSaysAll(t *testing.T) {
	list, err := connect(t, Options{}).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Tools) != len(loopToolset) {
		t.Errorf("%d tools, want %d", len(list.Tools), len(loopToolset))
	}
	size := 0
	for _, tool := range list.Tools {
		a := tool.Annotations
		if a == nil || a.DestructiveHint == nil || a.OpenWorldHint == nil || a.Title == "" {
			t.Errorf("%s: annotations are not all stated: %+v", tool.Name, a)
		}
		if tool.OutputSchema == nil {
			t.Errorf("%s has no output schema", tool.Name)
		}
		if len(tool.Description) > 1000 || len(tool.Description) < 40 {
			t.Errorf("%s: description of %d bytes", tool.Name, len(tool.Description))
		}
		b, _ := json.Marshal(tool)
		size += len(b)
	}
	if tokens := size / 4; tokens > 7000 {
		t.Errorf("the tools cost about %d tokens", tokens)
	}
	if len(Instructions) >= 1800 {
		t.Errorf("instructions of %d bytes: clients cut them at 2 kB", len(Instructions))
	}
}

func TestReadOnlyLeavesOutWhatRuns(t *testing.T) {
	list, err := connect(t, Options{ReadOnly: true}).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if !tool.Annotations.ReadOnlyHint {
			t.Errorf("%s is there with --read-only", tool.Name)
		}
	}
	if len(list.Tools) == 0 {
		t.Error("no tools at all")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	result, err := connect(t, Options{}).CallTool(t.Context(), &mcp.CallToolParams{Name: "loop_status"})
	if err != nil {
		t.Fatal(err)
	}
	text := result.Content[0].(*mcp.TextContent).Text
	if !result.IsError || !strings.Contains(text, "no devloop.yaml here. Fix: devloop init") {
		t.Errorf("got %q, isError %v", text, result.IsError)
	}
	if plain := errors.New("x"); forModel(plain) != plain {
		t.Error("an error without a hint is changed")
	}
}

func TestIterationForModels(t *testing.T) {
	it := &traffic.Iteration{ID: "i3", Revision: "r2", State: "done", Verdict: traffic.Fail, ExitCode: 1, Checks: []traffic.CheckResult{
		{Name: "fine", Verdict: traffic.Pass, N: 3},
		{Name: "unsure", Verdict: traffic.Inconclusive, Reason: "need 5 more", NeedMore: 5},
		{Name: "broken", Verdict: traffic.Fail, Reason: "1 of 3", File: "a.netcheck.yaml", Line: 4, Evidence: []traffic.Evidence{{Call: "local/x/0", Summary: "GET"}}},
		{Name: "idle", Builtin: true, Verdict: traffic.Skipped},
	}}
	got := iteration(it, false)
	if got.Done || len(got.Attention) != 2 || got.Attention[0].Name != "broken" || got.Attention[0].Where != "a.netcheck.yaml:4" || !cmp.Equal(got.Passed, []string{"fine"}) {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(got.Next, `evidence_get {check: "broken"}`) {
		t.Errorf("next: %s", got.Next)
	}
	if all := iteration(it, true); len(all.Attention) != 3 {
		t.Errorf("detailed: %+v", all.Attention)
	}
}
