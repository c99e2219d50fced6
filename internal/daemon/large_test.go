package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/mcp"
)

// TestLargeArguments: over stdio as over HTTP, what is too large is refused as the tool's own error, and the next call is answered.
func TestLargeArguments(t *testing.T) {
	d := serving(t, nil)
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- mcp.Serve(context.Background(), mcp.Options{Version: "test", Toolsets: []string{"all"}, Connect: func(context.Context) (*control.Client, error) { return d.client, nil }}, in, out)
	}()
	t.Cleanup(func() {
		toServer.Close()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	lines := bufio.NewReader(fromServer)
	ask := func(message string) (answer struct {
		ID    int
		Error *struct {
			Code    int
			Message string
		}
		Result struct {
			IsError bool
			Content []struct{ Text string }
		}
	}) {
		t.Helper()
		if _, err := io.WriteString(toServer, message+"\n"); err != nil {
			t.Fatal(err)
		}
		for answer.ID == 0 { // others are notifications
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(line, &answer); err != nil {
				t.Fatal(err)
			}
		}
		return answer
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	if _, err := io.WriteString(toServer, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", maxRequest)
	for name, call := range map[string]struct{ tool, arguments, want string }{
		"a filter":         {"list_api_calls", `{"kfl":"` + large + `"}`, "10 MB"},
		"a cursor":         {"list_api_calls", `{"cursor":"` + large + `"}`, "10 MB"},
		"just below":       {"list_api_calls", `{"kfl":"` + large[:maxRequest-100] + `"}`, "filter"},
		"a name":           {"list_api_calls", `{"` + large + `":1}`, "unexpected additional properties"},
		"a value of a set": {"list_api_calls", `{"format":"` + large[:maxRequest-100] + `"}`, "format"},
		"of another type":  {"list_api_calls", `{"limit":"` + large + `"}`, "limit"},
		"a tool's name":    {large, `{}`, "unknown tool"},
	} {
		a := ask(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"` + call.tool + `","arguments":` + call.arguments + `}}`)
		text := ""
		if a.Error != nil {
			text = a.Error.Message
		} else if a.Result.IsError && len(a.Result.Content) > 0 {
			text = a.Result.Content[0].Text
		}
		if !strings.Contains(text, call.want) || len(text) > 32<<10 {
			t.Errorf("%s: %d bytes of %.300q, want an error about %q", name, len(text), text, call.want)
		}
	}
	if a := ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list_api_calls","arguments":{}}}`); a.Error != nil || a.Result.IsError {
		t.Errorf("the next call: %+v", a)
	}
}
