package dissect_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// done says which test asserts what of each protocol: a request with its response, an error, several under way at once, a capture that begins
// in the middle, and all of its fields. "-" is what the protocol does not have. With a real client means that Client names the test
// in which one speaks.
var done = map[string]struct{ Client, Answer, Error, Pipelined, Joined, Fields string }{
	"HTTP/1":             {"TestRealClientRecord", "TestRealClient", "TestRealClient", "TestRealClient", "TestJoinedAnywhere", "TestFieldsFilled"},
	"HTTP/2":             {"TestHTTP2", "TestHTTP2", "TestHTTP2", "TestGRPCMany", "TestJoinedAnywhere", "TestFieldsFilled"},
	"gRPC":               {"TestGRPC", "TestGRPC", "TestGRPC", "TestGRPCMany", "TestJoinedAnywhere", "TestFieldsFilled"},
	"gRPC-Web":           {"TestGRPCWeb", "TestGRPCWeb", "TestGRPCWeb", "-", "TestScenarios", "TestGRPCWeb"},
	"GraphQL":            {"TestGraphQL", "TestGraphQL", "TestGraphQL", "-", "-", "TestGraphQL"}, // as HTTP and WebSocket
	"WebSocket":          {"TestWebSocketReal", "TestWebSocketReal", "TestWebSocketReal", "TestWebSocketReal", "TestWebSocketReal", "TestWebSocketReal"},
	"WebSocket, HTTP/2":  {"TestBrowser", "TestBrowser", "TestWebSocket", "TestBrowser", "-", "TestBrowser"},
	"Server-Sent Events": {"TestEventsReal", "TestEventsReal", "TestEventsReal", "TestEvents", "TestEventsReal", "TestEventsReal"},
	"PostgreSQL":         {"TestPostgreSQLReal", "TestPostgreSQLReal", "TestPostgreSQLReal", "TestPostgreSQLReal", "TestPostgreSQLJoinedAnywhere", "TestPostgreSQLReal"},
	"Redis":              {"TestRedisReal", "TestRedisReal", "TestRedisReal", "TestRedisReal", "TestRedisScenarios", "TestRedisReal"},
	"DNS":                {"TestFieldsFilled", "TestFieldsFilled", "TestFieldsFilled", "TestScenarios", "-", "TestFieldsFilled"},
	"TLS":                {"TestTLSReal", "TestTLSReal", "TestFieldsFilled", "-", "TestTLSKeysLate", "TestFieldsFilled"},
	"TCP":                {"TestTCPTshark", "-", "TestTCPTshark", "-", "TestTCPTshark", "TestTruthTCP"},
}

// TestDone finds every test that done names.
func TestDone(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for protocol, d := range done {
		for _, name := range []string{d.Client, d.Answer, d.Error, d.Pipelined, d.Joined, d.Fields} {
			if name != "-" && !bytes.Contains(all, []byte("\nfunc "+name+"(t *testing.T) {")) {
				t.Errorf("%s: there is no %q", protocol, name)
			}
		}
	}
}
