package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/tools/txtar"

	"github.com/devloop-io/devloop/internal/control"
)

// daemonOf answers on a unix socket, as the daemon does, with what a transcript has for each request.
func daemonOf(t testing.TB, answers map[string]string, asked *strings.Builder) *control.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/v1/")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(asked, "  daemon: %s %s\n", name, body)
		answer, ok := answers[name]
		if !ok {
			answer = `{"failed": {"error": "nobody planned ` + name + `", "exit": 5}}`
		}
		io.WriteString(w, answer)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return control.NewClient(socket)
}

// TestTranscripts plays calls of testdata/transcripts against a daemon with fixed answers: what an agent asks, what
// reaches the daemon, and what the agent reads.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "transcripts", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			answers := map[string]string{}
			var calls, want []byte
			for _, f := range a.Files {
				switch name, isAnswer := strings.CutPrefix(f.Name, "daemon/"); {
				case isAnswer:
					answers[name] = string(f.Data)
				case f.Name == "calls":
					calls = f.Data
				case f.Name == "transcript":
					want = f.Data
				}
			}
			got := play(t, answers, calls)
			if *update {
				for i := range a.Files {
					if a.Files[i].Name == "transcript" {
						a.Files[i].Data = []byte(got)
					}
				}
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got (-update rewrites it):\n%s", diff)
			}
		})
	}
}

// play makes calls, one a line: the tool's name and its arguments.
func play(t *testing.T, answers map[string]string, calls []byte) string {
	t.Helper()
	var said strings.Builder
	daemon := daemonOf(t, answers, &said)
	client := connect(t, Options{Toolsets: []string{"all"}, AllowDestructive: true, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	for line := range strings.Lines(string(calls)) {
		name, arguments, _ := strings.Cut(strings.TrimSpace(line), " ")
		if arguments == "" {
			arguments = "{}"
		}
		fmt.Fprintf(&said, "> %s %s\n", name, arguments)
		res, err := client.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: json.RawMessage(arguments)})
		switch {
		case err != nil:
			fmt.Fprintf(&said, "refused: %v\n", err)
		case res.IsError:
			fmt.Fprintf(&said, "error: %s\n", res.Content[0].(*mcp.TextContent).Text)
		default:
			b, err := json.MarshalIndent(res.StructuredContent, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&said, "%s\n", b)
		}
	}
	return said.String()
}

// rawArguments are a tool's arguments as they are on the wire.
func rawArguments(text string) json.RawMessage { return json.RawMessage(text) }
