package redact

import (
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// TestWebSocket redacts the payload of messages like bodies.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	for _, server := range []bool{false, true} {
		c := &traffic.Call{Protocol: traffic.ProtoWS, WebSocket: &traffic.WebSocket{Opcode: "text", FromServer: server,
			Payload: []byte(`{"type":"login","password":"hunter2-and-more"}`)}}
		New([]byte("key"), Options{}).Call(c)
		if s := string(c.WebSocket.Payload); strings.Contains(s, "hunter2") || !strings.Contains(s, `"type":"login"`) {
			t.Errorf("payload is %s", s)
		}
		place := "request.message"
		if server {
			place = "response.message"
		}
		if len(c.Credentials) != 1 || !strings.HasPrefix(c.Credentials[0].Place, place) {
			t.Errorf("credentials are %+v, want one of %s", c.Credentials, place)
		}
	}
}
