package redact

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// TestMessages finds one secret wherever a protocol puts it, and leaves what stands beside it.
func TestMessages(t *testing.T) {
	t.Parallel()
	const secret, beside = "hunter2-and-more", "lamp-17"
	variables := `{"password":"` + secret + `","item":"` + beside + `"}`
	document := `mutation { login(user: "anna", password: "` + secret + `") { id } item(name: "` + beside + `") { id } }`
	inBody := `{"query":"mutation($password: String) { login(password: $password) { id } }","variables":` + variables + `}`
	quoted, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	operation := traffic.GraphQLOperation{Query: document, Variables: variables}
	for name, c := range map[string]struct {
		call  *traffic.Call
		place string
	}{
		"GraphQL document":         {&traffic.Call{GraphQL: &traffic.GraphQL{GraphQLOperation: traffic.GraphQLOperation{Query: document}}}, "request.query"},
		"GraphQL variables":        {&traffic.Call{GraphQL: &traffic.GraphQL{GraphQLOperation: traffic.GraphQLOperation{Variables: variables}}}, "request.variables"},
		"GraphQL batch":            {&traffic.Call{GraphQL: &traffic.GraphQL{Batch: []traffic.GraphQLOperation{operation}}}, "request.query"},
		"GraphQL body":             {&traffic.Call{HTTP: &traffic.HTTP{RequestBody: []byte(inBody)}}, "request.body"},
		"GraphQL document in JSON": {&traffic.Call{HTTP: &traffic.HTTP{RequestBody: []byte(`{"query":` + string(quoted) + `}`)}}, "request.body"},
		"GraphQL variables in GET": {&traffic.Call{HTTP: &traffic.HTTP{Query: "query=%7Bid%7D&variables=" + url.QueryEscape(variables)}}, "request.query"},
		"GraphQL document in GET":  {&traffic.Call{HTTP: &traffic.HTTP{Query: "query=" + url.QueryEscape(document)}}, "request.query"},
		"GraphQL over WebSocket":   {&traffic.Call{WebSocket: &traffic.WebSocket{Opcode: "text", Payload: []byte(`{"id":"1","type":"subscribe","payload":` + inBody + `}`)}}, "request.message"},
		"gRPC request":             {&traffic.Call{GRPC: &traffic.GRPC{RequestJSON: variables}}, "request.body"},
		"gRPC response":            {&traffic.Call{GRPC: &traffic.GRPC{ResponseJSON: variables}}, "response.body"},
		"Connect body":             {&traffic.Call{HTTP: &traffic.HTTP{RequestBody: []byte(variables), RequestHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/connect+json"}}}}, "request.body"},
		"Server-Sent Events":       {&traffic.Call{HTTP: &traffic.HTTP{ResponseBody: []byte("event: a\ndata: " + variables + "\n\ndata: next\n\n"), ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "text/event-stream"}}}}, "response.body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			New(testKey, Options{}).Call(c.call)
			out, err := json.Marshal(c.call)
			if err != nil {
				t.Fatal(err)
			}
			text := string(out)
			for _, b := range payloads(c.call) {
				text += string(b)
			}
			if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				t.Errorf("the secret is still there: %s", text)
			}
			if !strings.HasSuffix(name, "in GET") && !strings.Contains(text, beside) { // a parameter that holds a secret goes as a whole
				t.Errorf("what stood beside it is not: %s", text)
			}
			if len(c.call.Credentials) == 0 || !strings.HasPrefix(c.call.Credentials[0].Place, c.place) || c.call.Credentials[0].Kind != "password" {
				t.Errorf("credentials %+v, want a password in %s", c.call.Credentials, c.place)
			}
		})
	}
}

// payloads are the bytes that JSON would show in base64.
func payloads(c *traffic.Call) (all [][]byte) {
	if c.HTTP != nil {
		all = append(all, c.HTTP.RequestBody, c.HTTP.ResponseBody)
	}
	if c.WebSocket != nil {
		all = append(all, c.WebSocket.Payload)
	}
	return all
}

// TestGRPCBytes drops the bytes of a message whose JSON held a secret: there it has no name to be found by.
func TestGRPCBytes(t *testing.T) {
	t.Parallel()
	c := &traffic.Call{GRPC: &traffic.GRPC{RequestJSON: `{"password":"hunter2-and-more"}`, ResponseJSON: `{"id":"1"}`},
		HTTP: &traffic.HTTP{RequestBody: []byte("\x00\x00\x00\x00\x12\x0a\x10hunter2-and-more"), ResponseBody: []byte("\x00\x00\x00\x00\x03\x0a\x011")}}
	New(testKey, Options{}).Call(c)
	if c.HTTP.RequestBody != nil || len(c.HTTP.ResponseBody) == 0 {
		t.Errorf("bodies are %q and %q", c.HTTP.RequestBody, c.HTTP.ResponseBody)
	}
}
