//lint:file-ignore SA1019 The conformance suite asks for what older revisions of the protocol have.

package mcp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// The official suite calls tools, and reads resources and prompts, of an example server of its own. Here they are, on devloop's
// server: by them the suite sees how it carries results, errors, progress, questions and changes. Names are the suite's.

type (
	toolHandler   = func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error)
	promptHandler = func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error)
)

// addFixtures adds all of them.
func addFixtures(t *testing.T, s *mcp.Server) {
	for _, tools := range []map[string]toolHandler{contentFixtures(t), behaviourFixtures(s), sessionFixtures(), inputFixtures()} {
		for name, h := range tools {
			mcp.AddTool(s, &mcp.Tool{Name: name, Description: "Part of the conformance suite"}, func(ctx context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
				result, err := h(ctx, r)
				return result, nil, err
			})
		}
	}
	for name, schema := range map[string]string{"json_schema_2020_12_tool": schemaFixture, "test_x_mcp_header": headerFixture} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: "Part of the conformance suite", InputSchema: json.RawMessage(schema)},
			func(_ context.Context, r *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
				return says("called with " + string(r.Params.Arguments)), nil, nil
			})
	}
	addResourceFixtures(t, s)
	addPromptFixtures(t, s)
}

func says(text string) *mcp.CallToolResult { return carries(&mcp.TextContent{Text: text}) }

func carries(content ...mcp.Content) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: content}
}

// picture is the smallest PNG that the suite takes for one; sound a WAV file without samples.
func picture(t *testing.T) *mcp.ImageContent {
	return &mcp.ImageContent{MIMEType: "image/png", Data: decoded(t, "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==")}
}

func sound(t *testing.T) *mcp.AudioContent {
	return &mcp.AudioContent{MIMEType: "audio/wav", Data: decoded(t, "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")}
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func embedded(uri string) *mcp.EmbeddedResource {
	return &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: uri, MIMEType: "text/plain", Text: "what the resource says"}}
}

// contentFixtures answer with one kind of content each.
func contentFixtures(t *testing.T) map[string]toolHandler {
	answers := func(r *mcp.CallToolResult) toolHandler {
		return func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return r, nil }
	}
	return map[string]toolHandler{
		"test_simple_text":            answers(says("This is a simple text response for testing.")),
		"test_image_content":          answers(carries(picture(t))),
		"test_audio_content":          answers(carries(sound(t))),
		"test_embedded_resource":      answers(carries(embedded("test://embedded-resource"))),
		"test_multiple_content_types": answers(carries(&mcp.TextContent{Text: "text"}, picture(t), embedded("test://mixed-content-resource"))),
		"test_streaming_elicitation":  answers(says("no requests")),
		"test_error_handling": func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return nil, errors.New("This tool intentionally returns an error for testing")
		},
	}
}

// behaviourFixtures tell of progress, of changes, and of what a client lacks.
func behaviourFixtures(s *mcp.Server) map[string]toolHandler {
	return map[string]toolHandler{
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
		"test_reconnection": func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if r.Extra != nil && r.Extra.CloseSSEStream != nil {
				r.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
			}
			return says("the client came again"), nil
		},
	}
}

// sessionFixtures log to the client and ask it, within a session.
func sessionFixtures() map[string]toolHandler {
	logs := func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for _, text := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			//lint:ignore SA1019 the suite asks for it
			if err := r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: text}); err != nil {
				return nil, err
			}
		}
		return says("logged"), nil
	}
	elicits := func(schema map[string]any) toolHandler {
		return func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			a, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "who are you?", RequestedSchema: schema})
			if err != nil {
				return nil, err
			}
			return says(fmt.Sprintf("action=%s, content=%v", a.Action, a.Content)), nil
		}
	}
	return map[string]toolHandler{
		"test_tool_with_logging": logs,
		"test_logging_tool":      logs,
		"test_sampling": func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			var in struct{ Prompt string }
			if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
				return nil, err
			}
			//lint:ignore SA1019 the suite asks for it
			a, err := r.Session.CreateMessage(ctx, &mcp.CreateMessageParams{Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Prompt}}}, MaxTokens: 100})
			if err != nil {
				return nil, err
			}
			return carries(a.Content), nil
		},
		"test_elicitation":                  elicits(asked("username", "string")),
		"test_elicitation_sep1034_defaults": elicits(fromJSON(defaultsFixture)),
		"test_elicitation_sep1330_enums":    elicits(fromJSON(enumsFixture)),
	}
}

// asked is the schema of one answer.
func asked(name, kind string) map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{name: map[string]any{"type": kind}}, "required": []string{name}}
}

func fromJSON(text string) map[string]any {
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err) // a constant below
	}
	return m
}

// inputFixtures answer a first call with questions, and the second, which has the answers, with a result: how a server without
// sessions asks.
func inputFixtures() map[string]toolHandler {
	name := &mcp.ElicitParams{Message: "What is your name?", RequestedSchema: asked("name", "string")}
	sure := &mcp.ElicitParams{Message: "Please confirm", RequestedSchema: asked("ok", "boolean")}
	sampling := func(text string) *mcp.CreateMessageParams {
		return &mcp.CreateMessageParams{MaxTokens: 100, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}
	}
	// asks is one round.
	asks := func(state string, questions mcp.InputRequestMap) toolHandler {
		return func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if said, ok := answered(r.Params.InputResponses, questions); ok {
				if state != "" && !sealed(r.Params.RequestState, state) {
					return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState is not the one that was given"}
				}
				return says("state-ok: " + said), nil
			}
			return &mcp.CallToolResult{InputRequests: questions, RequestState: seal(state)}, nil
		}
	}
	return map[string]toolHandler{
		"test_input_required_result_elicitation":    asks("", mcp.InputRequestMap{"user_name": name}),
		"test_input_required_result_sampling":       asks("", mcp.InputRequestMap{"capital_question": sampling("What is the capital of France?")}),
		"test_input_required_result_list_roots":     asks("", mcp.InputRequestMap{"client_roots": &mcp.ListRootsParams{}}),
		"test_input_required_result_request_state":  asks("confirm", mcp.InputRequestMap{"confirm": sure}),
		"test_input_required_result_tampered_state": asks("tampered", mcp.InputRequestMap{"confirm": sure}),
		"test_input_required_result_multiple_inputs": asks("several", mcp.InputRequestMap{
			"user_name": name, "greeting": sampling("Generate a greeting"), "client_roots": &mcp.ListRootsParams{},
		}),
		"test_input_required_result_multi_round": func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			first, second := mcp.InputRequestMap{"step1": name}, mcp.InputRequestMap{"step2": &mcp.ElicitParams{Message: "What is your favourite colour?", RequestedSchema: asked("color", "string")}}
			if said, ok := answered(r.Params.InputResponses, second); ok && sealed(r.Params.RequestState, "second") {
				return says(said), nil
			}
			if _, ok := answered(r.Params.InputResponses, first); ok && sealed(r.Params.RequestState, "first") {
				return &mcp.CallToolResult{InputRequests: second, RequestState: seal("second")}, nil
			}
			return &mcp.CallToolResult{InputRequests: first, RequestState: seal("first")}, nil
		},
		"test_input_required_result_capabilities": func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			questions, can := mcp.InputRequestMap{}, r.ClientCapabilities()
			if can != nil && can.Elicitation != nil {
				questions["user_name"] = name
			}
			//lint:ignore SA1019 the suite asks for it
			if can != nil && can.Sampling != nil {
				questions["greeting"] = sampling("Generate a greeting")
			}
			if len(r.Params.InputResponses) > 0 || len(questions) == 0 {
				return says("nothing more to ask"), nil
			}
			return &mcp.CallToolResult{InputRequests: questions}, nil
		},
	}
}

// answered is what a client answered to all questions, in words. An answer that was refused is none.
func answered(all mcp.InputResponseMap, questions mcp.InputRequestMap) (said string, ok bool) {
	var words []string
	for key := range questions {
		switch a := all[key].(type) {
		case *mcp.ElicitResult:
			if a == nil || a.Action != "accept" || len(a.Content) == 0 {
				return "", false
			}
			words = append(words, fmt.Sprint(a.Content))
		case *mcp.CreateMessageWithToolsResult:
			for _, c := range a.Content {
				if text, ok := c.(*mcp.TextContent); ok {
					words = append(words, text.Text)
				}
			}
		case *mcp.ListRootsResult:
			for _, root := range a.Roots {
				words = append(words, root.URI)
			}
		default:
			return "", false
		}
	}
	return strings.Join(words, ", "), true
}

// seal makes a state that only this server makes.
func seal(state string) string {
	if state == "" {
		return ""
	}
	sum := hmac.New(sha256.New, []byte("of the fixtures"))
	sum.Write([]byte(state))
	return state + "." + hex.EncodeToString(sum.Sum(nil))
}

func sealed(given, want string) bool { return hmac.Equal([]byte(given), []byte(seal(want))) }

func addResourceFixtures(t *testing.T, s *mcp.Server) {
	const watched = "test://watched-resource"
	reads := func(mime string, of func(uri string) (text string, blob []byte)) mcp.ResourceHandler {
		return func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			text, blob := of(r.Params.URI)
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: mime, Text: text, Blob: blob}}}, nil
		}
	}
	plain := func(string) (string, []byte) { return "what the resource says", nil }
	s.AddResource(&mcp.Resource{Name: "static-text", URI: "test://static-text", MIMEType: "text/plain"}, reads("text/plain", plain))
	s.AddResource(&mcp.Resource{Name: "watched", URI: watched, MIMEType: "text/plain"}, reads("text/plain", plain))
	s.AddResource(&mcp.Resource{Name: "static-binary", URI: "test://static-binary", MIMEType: "image/png"}, reads("image/png", func(string) (string, []byte) { return "", picture(t).Data }))
	s.AddResourceTemplate(&mcp.ResourceTemplate{Name: "template", URITemplate: "test://template/{id}/data", MIMEType: "application/json"}, reads("application/json", func(uri string) (string, []byte) {
		id, _, _ := strings.Cut(strings.TrimPrefix(uri, "test://template/"), "/")
		return fmt.Sprintf(`{"id": %q}`, id), nil
	}))
	// devloop follows its own resources only: whoever follows the fixture follows one of these.
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			switch p := r.GetParams().(type) {
			case *mcp.SubscribeParams:
				p.URI = strings.Replace(p.URI, watched, "devloop://services/list", 1)
			case *mcp.UnsubscribeParams:
				p.URI = strings.Replace(p.URI, watched, "devloop://services/list", 1)
			}
			return next(ctx, method, r)
		}
	})
}

func addPromptFixtures(t *testing.T, s *mcp.Server) {
	user := func(content ...mcp.Content) *mcp.GetPromptResult {
		r := &mcp.GetPromptResult{Description: "Part of the conformance suite"}
		for _, c := range content {
			r.Messages = append(r.Messages, &mcp.PromptMessage{Role: "user", Content: c})
		}
		return r
	}
	text := func(s string) mcp.Content { return &mcp.TextContent{Text: s} }
	for _, p := range []struct {
		name      string
		arguments []string
		handler   promptHandler
	}{
		{"test_simple_prompt", nil, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return user(text("This is a simple prompt for testing.")), nil
		}},
		{"test_prompt_with_arguments", []string{"arg1", "arg2"}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return user(text(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", r.Params.Arguments["arg1"], r.Params.Arguments["arg2"]))), nil
		}},
		{"test_prompt_with_embedded_resource", []string{"resourceUri"}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return user(embedded(r.Params.Arguments["resourceUri"]), text("Please process it.")), nil
		}},
		{"test_prompt_with_image", nil, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return user(picture(t), text("Please look at it.")), nil
		}},
		{"test_input_required_result_prompt", nil, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			questions := mcp.InputRequestMap{"user_context": &mcp.ElicitParams{Message: "What is it about?", RequestedSchema: asked("context", "string")}}
			if said, ok := answered(r.Params.InputResponses, questions); ok {
				return user(text(said)), nil
			}
			return &mcp.GetPromptResult{InputRequests: questions}, nil
		}},
	} {
		prompt := &mcp.Prompt{Name: p.name, Description: "Part of the conformance suite"}
		for _, a := range p.arguments {
			prompt.Arguments = append(prompt.Arguments, &mcp.PromptArgument{Name: a, Description: "an argument", Required: true})
		}
		s.AddPrompt(prompt, p.handler)
	}
}

const (
	// schemaFixture has what JSON Schema 2020-12 has beyond older drafts.
	schemaFixture = `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
		"properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}, "contactMethod": {"type": "string", "enum": ["phone", "email"]},
			"phone": {"type": "string"}, "email": {"type": "string"}},
		"allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
		"if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]}, "then": {"required": ["phone"]}, "else": {"required": ["email"]},
		"additionalProperties": false}`
	// headerFixture has an argument that is in a header of the request too.
	headerFixture = `{"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "level": {"type": "integer"}}}`

	defaultsFixture = `{"type": "object", "properties": {
		"name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30}, "score": {"type": "number", "default": 95.5},
		"status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"}, "verified": {"type": "boolean", "default": true}}}`
	enumsFixture = `{"type": "object", "properties": {
		"untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
		"titledSingle": {"type": "string", "oneOf": [{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}, {"const": "value3", "title": "Third Option"}]},
		"legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
		"untitledMulti": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
		"titledMulti": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "anyOf": [{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}, {"const": "value3", "title": "Third Option"}]}}}}`
)
