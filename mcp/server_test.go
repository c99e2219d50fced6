package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
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
	f, err := newFace(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	server, err := f.server.Connect(t.Context(), mine, nil)
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

// listed are the tools that a server with these options offers.
func listed(t *testing.T, o Options) []*mcp.Tool {
	t.Helper()
	list, err := connect(t, o).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return list.Tools
}

// TestToolsAreAsDocumented compares every tool's name, schemas and annotations with the golden file of its toolset: a
// change of them is a change for every agent, and is read like code.
func TestToolsAreAsDocumented(t *testing.T) {
	for _, set := range toolsets {
		got, err := json.MarshalIndent(listed(t, Options{Toolsets: []string{set.name}, AllowDestructive: true}), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		golden := filepath.Join("testdata", "tools-"+set.name+".json")
		if set.name == DefaultToolset {
			golden = filepath.Join("testdata", "tools.json")
		}
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
}

// TestEveryToolSaysAll: four annotations, an output schema, and a description within what clients keep.
func TestEveryToolSaysAll(t *testing.T) {
	all := listed(t, Options{Toolsets: []string{"all"}, AllowDestructive: true})
	for _, tool := range all {
		a := tool.Annotations
		if a == nil || a.DestructiveHint == nil || a.OpenWorldHint == nil || a.Title == "" {
			t.Errorf("%s: annotations are not all stated: %+v", tool.Name, a)
		}
		if tool.OutputSchema == nil {
			t.Errorf("%s has no output schema", tool.Name)
		}
		b, err := json.Marshal(tool.OutputSchema)
		if err != nil || bytes.Contains(b, []byte(":true")) {
			t.Errorf("%s: a property of the output may be anything, which clients refuse: %s, %v", tool.Name, b, err)
		}
		if len(tool.Description) > 2000 || len(tool.Description) < 40 {
			t.Errorf("%s: description of %d bytes", tool.Name, len(tool.Description))
		}
	}
	c, err := choose(Options{Toolsets: []string{"all"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.instructions()); n >= 2000 {
		t.Errorf("instructions of %d bytes: clients cut them at 2 kB", n)
	}
}

// TestTokenBudget: what a client reads before each task stays small. A token is taken as four bytes of compact JSON, which
// common tokenizers undercut for English and JSON by a few percent in either direction.
func TestTokenBudget(t *testing.T) {
	const bytesPerToken = 4
	for set, budget := range map[string]int{DefaultToolset: 6000, "all": 30000} {
		size := len(Instructions)
		for _, tool := range listed(t, Options{Toolsets: []string{set}, AllowDestructive: true}) {
			b, err := json.Marshal(tool)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d", tool.Name, len(b)/bytesPerToken)
			size += len(b)
		}
		t.Logf("%s: about %d tokens", set, size/bytesPerToken)
		if size/bytesPerToken > budget {
			t.Errorf("toolset %s costs about %d tokens, more than %d", set, size/bytesPerToken, budget)
		}
	}
}

func TestToolsAreChosen(t *testing.T) {
	loop := "check_expression doctor evidence_get loop_run loop_status loop_wait traffic_get traffic_query verdict_get window_close window_open"
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"nothing said":            {Options{}, loop},
		"default":                 {Options{Toolsets: []string{"default"}}, loop},
		"one tool":                {Options{Tools: []string{"doctor"}}, "doctor"},
		"a toolset and a tool":    {Options{Toolsets: []string{"checks"}, Tools: []string{"doctor"}}, "check_expression checks_suggest doctor evidence_get fault_clear fault_set replay_run verdict_get"},
		"not destructive":         {Options{Toolsets: []string{"cluster"}}, "check_capture_status configure_capture"},
		"destructive":             {Options{Toolsets: []string{"cluster"}, AllowDestructive: true}, "check_capture_status configure_capture start_capture stop_capture"},
		"guarded though named":    {Options{Tools: []string{"stop_capture", "doctor"}}, "doctor"},
		"left out is stronger":    {Options{Toolsets: []string{"checks"}, Tools: []string{"doctor"}, Exclude: []string{"doctor", "verdict_get"}}, "check_expression checks_suggest evidence_get fault_clear fault_set replay_run"},
		"read-only is stronger":   {Options{Toolsets: []string{"cluster"}, Tools: []string{"loop_run"}, AllowDestructive: true, ReadOnly: true}, "check_capture_status"},
		"by the name it had":      {Options{Tools: []string{"check_kubeshark_status"}}, "check_capture_status"},
		"observing":               {Options{Observing: true, Tools: []string{"loop_run", "doctor", "configure_capture"}}, "doctor"},
		"nothing is left to call": {Options{Tools: []string{"doctor"}, Exclude: []string{"doctor"}}, ""},
	} {
		var names []string
		for _, tool := range listed(t, c.o) {
			names = append(names, tool.Name)
			if c.o.ReadOnly && !tool.Annotations.ReadOnlyHint {
				t.Errorf("%s: %s is there with --read-only", name, tool.Name)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	for _, tool := range listed(t, Options{Observing: true, Toolsets: []string{"all"}, AllowDestructive: true}) {
		if slices.Contains(notObserving, tool.Name) {
			t.Errorf("%s is there although the daemon only looks", tool.Name)
		}
	}
	for _, o := range []Options{{Toolsets: []string{"trafic"}}, {Tools: []string{"loop"}}, {Exclude: []string{"nothing"}}} {
		if _, err := newFace(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
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
