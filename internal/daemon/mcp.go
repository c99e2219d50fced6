package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/mcp"
)

// description is what a client that does not know devloop reads first.
const description = "What this workspace's services say to each other: calls, flows, snapshots and verdicts. " + control.Untrusted

// serveMCP serves the Model Context Protocol at /mcp, the tools to those that speak plain HTTP, and the discovery document.
func (s *server) serveMCP(mux *http.ServeMux) error {
	sets := &handlers{options: s.mcpOptions(), made: map[string]http.Handler{}}
	if _, err := sets.of(""); err != nil {
		return err
	}
	protocol := func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer func() { s.touch(); s.busy.Add(-1) }()
		h, err := sets.of(r.URL.Query().Get("toolsets"))
		if err != nil {
			refuse(w, statusOf(err), known(err))
			return
		}
		h.ServeHTTP(w, r)
	}
	box := &toolbox{options: s.mcpOptions()}
	box.options.Toolsets = []string{"all"}
	mux.HandleFunc("POST /mcp", func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			refuse(w, statusOf(err), known(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		protocol(w, r)
	})
	mux.HandleFunc("DELETE /mcp", protocol)
	mux.HandleFunc("GET /mcp", func(w http.ResponseWriter, r *http.Request) {
		if wantsEvents(r) {
			protocol(w, r)
			return
		}
		d, err := s.discover(r.Context(), box)
		if err != nil {
			refuse(w, statusOf(err), known(err))
			return
		}
		writeJSON(w, http.StatusOK, d)
	})
	mux.HandleFunc("POST /mcp/tools/call", func(w http.ResponseWriter, r *http.Request) { s.callTool(w, r, box) })
	return nil
}

func (s *server) mcpOptions() mcp.Options {
	client := control.NewClient(s.socket)
	return mcp.Options{
		Version: s.version, AllowDestructive: s.destructive,
		Connect: func(context.Context) (*control.Client, error) { return client, nil },
	}
}

// handlers are the MCP servers by the toolsets that they offer: /mcp?toolsets=traffic,snapshots.
type handlers struct {
	options mcp.Options
	mu      sync.Mutex
	made    map[string]http.Handler
}

// maxSets is more than there are sensible choices.
const maxSets = 32

func (h *handlers) of(sets string) (http.Handler, error) {
	names := strings.FieldsFunc(sets, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(names)
	key := strings.Join(slices.Compact(names), ",")
	h.mu.Lock()
	defer h.mu.Unlock()
	if made := h.made[key]; made != nil {
		return made, nil
	}
	if len(h.made) >= maxSets {
		return nil, &control.Error{What: "too many choices of toolsets", Hint: "use one of those in use, or toolsets=all", Exit: control.ExitEnvironment}
	}
	o := h.options
	o.Toolsets = names
	made, err := mcp.Handler(o)
	if err == nil {
		h.made[key] = made
	}
	return made, err
}

// toolbox is the server's own MCP client: who calls a tool over plain HTTP calls what an agent calls.
type toolbox struct {
	options mcp.Options
	mu      sync.Mutex
	session *sdk.ClientSession
}

// open connects at the first use.
func (b *toolbox) open(s *server) (*sdk.ClientSession, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != nil {
		return b.session, nil
	}
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	s.wg.Go(func() {
		if err := mcp.Serve(s.ctx, b.options, in, out); err != nil && s.ctx.Err() == nil {
			s.log.Error("the tools' server ended", "err", err)
		}
	})
	context.AfterFunc(s.ctx, func() { _, _ = in.Close(), out.Close() })
	client := sdk.NewClient(&sdk.Implementation{Name: "devloop-rest", Version: s.version}, nil)
	session, err := client.Connect(s.ctx, &sdk.IOTransport{Reader: fromServer, Writer: toServer}, nil)
	if err != nil {
		return nil, fmt.Errorf("reach the tools: %w", err)
	}
	b.session = session
	return session, nil
}

// callTool answers POST /mcp/tools/call {name, arguments} with the tool's structured answer.
func (s *server) callTool(w http.ResponseWriter, r *http.Request, box *toolbox) {
	s.busy.Add(1)
	defer func() { s.touch(); s.busy.Add(-1) }()
	body, err := readBody(w, r)
	if err != nil {
		refuse(w, statusOf(err), known(err))
		return
	}
	var call struct {
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
	}
	if err := json.Unmarshal(body, &call); err != nil || call.Name == "" {
		refuse(w, http.StatusBadRequest, control.Usagef("GET /mcp lists the tools", `the body is not {"name": TOOL, "arguments": {…}}`))
		return
	}
	session, err := box.open(s)
	if err != nil {
		refuse(w, statusOf(err), known(err))
		return
	}
	result, err := session.CallTool(r.Context(), &sdk.CallToolParams{Name: call.Name, Arguments: call.Arguments})
	switch {
	case err != nil && r.Context().Err() != nil: // nobody listens any more
	case err != nil:
		refuse(w, http.StatusBadRequest, control.Usagef("GET /mcp lists the tools with their arguments", err.Error()))
	case result.IsError:
		refuse(w, http.StatusBadRequest, &control.Error{What: textOf(result), Exit: control.ExitUsage})
	case result.StructuredContent == nil:
		writeJSON(w, http.StatusOK, map[string]string{"text": textOf(result)})
	default:
		writeJSON(w, http.StatusOK, result.StructuredContent)
	}
}

func textOf(r *sdk.CallToolResult) string {
	var parts []string
	for _, c := range r.Content {
		if t, ok := c.(*sdk.TextContent); ok {
			parts = append(parts, t.Text)
		}
	}
	return strings.Join(parts, "\n")
}

// discovery tells what there is, in both forms that Kubeshark's documents give it: tools and prompts, and endpoints.
type discovery struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Version     string     `json:"version"`
	Tools       []tool     `json:"tools"`
	Prompts     []prompt   `json:"prompts"`
	Endpoints   []endpoint `json:"endpoints"`
	OpenAPI     string     `json:"openapi"`
}

type tool struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	InputSchema any    `json:"inputSchema"`
}

type prompt struct {
	Name        string                `json:"name"`
	Description string                `json:"description"`
	Arguments   []*sdk.PromptArgument `json:"arguments"`
}

type endpoint struct {
	Path        string   `json:"path"`
	Method      string   `json:"method"`
	Description string   `json:"description"`
	Params      []string `json:"params"`
}

func (s *server) discover(ctx context.Context, box *toolbox) (*discovery, error) {
	session, err := box.open(s)
	if err != nil {
		return nil, err
	}
	d := &discovery{Name: "devloop", Description: description, Version: s.version, OpenAPI: "/openapi.json", Tools: []tool{}, Prompts: []prompt{}}
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the tools: %w", err)
		}
		d.Tools = append(d.Tools, tool{t.Name, t.Description, t.InputSchema})
	}
	for p, err := range session.Prompts(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the prompts: %w", err)
		}
		d.Prompts = append(d.Prompts, prompt{p.Name, p.Description, append([]*sdk.PromptArgument{}, p.Arguments...)})
	}
	d.Endpoints = append(fixedEndpoints(), endpoints(byName(s.methods()))...)
	return d, nil
}

func fixedEndpoints() []endpoint {
	return []endpoint{
		{"/mcp", "GET", "This document; with Accept: text/event-stream, the stream of the Model Context Protocol", []string{}},
		{"/mcp", "POST", "The Model Context Protocol (JSON-RPC 2.0, streamable HTTP)", []string{"toolsets"}},
		{"/mcp/tools/call", "POST", "Call any tool", []string{"name", "arguments"}},
		{"/openapi.json", "GET", "The REST API as OpenAPI 3.1", []string{}},
	}
}

func endpoints(methods map[string]method) []endpoint {
	list := []endpoint{}
	for _, t := range served(methods) {
		e := endpoint{t.path, t.verb, t.what, []string{}}
		for _, m := range membersOf(methods[t.method].request) {
			e.Params = append(e.Params, m.name)
		}
		list = append(list, e)
	}
	return list
}

// known gives an error the form that all faces show.
func known(err error) *control.Error {
	var e *control.Error
	if errors.As(err, &e) {
		return e
	}
	return &control.Error{What: err.Error(), Exit: control.ExitBug}
}
