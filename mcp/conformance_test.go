package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
)

// TestConformance runs the official suite against one URL, in the revision with sessions and in the one without. What
// testdata/conformance-REVISION.yml expects to fail calls tools, and reads resources and prompts, that only the suite's own
// example server has; a scenario that fails beyond these, or passes though it is listed, fails the test.
func TestConformance(t *testing.T) {
	testenv.NeedsFull(t)
	path := testenv.NeedsClients(t)
	daemon := daemonOf(t, fixedAnswers, new(strings.Builder))
	f, err := newFace(Options{Toolsets: []string{"all"}, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	if err != nil {
		t.Fatal(err)
	}
	addFixtures(f.server)
	s := httptest.NewServer(f.handler())
	defer f.close()
	defer s.Close()
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "sh", "-c", `exec conformance server --url "$1" --suite all --spec-version "$2" --expected-failures "testdata/conformance-$2.yml" -o "$3"`,
				"sh", s.URL, revision, t.TempDir())
			cmd.Env = append(os.Environ(), "PATH="+path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
			}
			t.Logf("%s", out[max(0, len(out)-4000):])
		})
	}
}

// addFixtures adds some tools of the suite's example server, by which it sees how a server carries results, errors, progress
// and changes.
func addFixtures(s *mcp.Server) {
	type handler = func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error)
	says := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	for name, h := range map[string]handler{
		"test_simple_text": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return says("This is a simple text response for testing."), nil
		},
		"test_error_handling": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return nil, errors.New("This tool intentionally returns an error for testing")
		},
		"test_missing_capability": func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			//lint:ignore SA1019 the suite asks for it
			if c := r.ClientCapabilities(); c != nil && c.Sampling != nil {
				return says("declared"), nil
			}
			data, err := json.Marshal(map[string]any{"requiredCapabilities": map[string]any{"sampling": map[string]any{}}})
			if err != nil {
				return nil, err
			}
			return nil, &jsonrpc.Error{Code: mcp.CodeMissingRequiredClientCapabilities, Message: "sampling is needed", Data: data}
		},
		"test_streaming_elicitation": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return says("no requests"), nil
		},
		"test_logging_tool": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return says("nothing is logged"), nil
		},
		"test_tool_with_progress": func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			say := progress(ctx, r)
			for _, step := range []string{"one", "two", "three"} {
				if say != nil {
					say(control.Event{Message: step})
				}
			}
			return says("done"), nil
		},
		"test_trigger_tool_change": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			s.AddTool(&mcp.Tool{Name: "changed", Description: "Part of the conformance suite", InputSchema: json.RawMessage(`{"type": "object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says(""), nil })
			return says("changed"), nil
		},
		"test_trigger_prompt_change": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			s.AddPrompt(&mcp.Prompt{Name: "changed", Description: "Part of the conformance suite"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				return &mcp.GetPromptResult{}, nil
			})
			return says("changed"), nil
		},
	} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: "Part of the conformance suite"}, func(ctx context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			result, err := h(ctx, r)
			return result, nil, err
		})
	}
}
