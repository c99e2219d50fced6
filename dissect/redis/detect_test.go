package redis

import (
	"testing"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// TestDetect says whose first bytes these are, and that other protocols' are left to them.
func TestDetect(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, in string
		want     protocol.Verdict
	}{
		{"command", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", protocol.FromClient},
		{"command, cut in its name", "*2\r\n$3\r\nGE", protocol.Undecided},
		{"command, only its name", "*2\r\n$3\r\nget\r\n", protocol.FromClient},
		{"module's command", "*2\r\n$8\r\nJSON.GET\r\n$1\r\na\r\n", protocol.FromClient},
		{"subscription", "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n", protocol.FromClient},
		{"confirmation", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", protocol.FromServer},
		{"message", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n", protocol.FromServer},
		{"list of numbers", "*2\r\n:1\r\n:2\r\n", protocol.FromServer},
		{"list whose first text is a command with another number of arguments", "*2\r\n$4\r\nsave\r\n$1\r\nx\r\n", protocol.No},
		{"status", "+OK\r\n", protocol.FromServer},
		{"status, cut", "+O", protocol.Undecided},
		{"error", "-NOAUTH Authentication required.\r\n", protocol.FromServer},
		{"text", "$5\r\nhello\r\n", protocol.FromServer},
		{"null", "$-1\r\n", protocol.FromServer},
		{"map", "%1\r\n+a\r\n:1\r\n", protocol.FromServer},
		{"push", ">3\r\n+message\r\n", protocol.FromServer},
		{"inline waits for the server", "PING\r\n", protocol.Undecided},
		{"inline pipeline", "SET a 1\r\nGET a\r\n", protocol.Undecided},
		{"another protocol's ping", "PING\n", protocol.No},
		{"NATS", "INFO {\"server_id\":\"a\"}\r\n", protocol.No},
		{"memcached", "get a\r\n", protocol.No},
		{"memcached storing", "set a 0 0 1\r\nx\r\n", protocol.No},
		{"POP3's greeting", "+OK POP3 ready\r\n", protocol.No},
		{"POP3's error", "-ERR no such mailbox\r\n", protocol.No},
		{"HTTP", "GET / HTTP/1.1\r\n", protocol.No},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", protocol.No},
		{"HTTP's answer", "HTTP/1.1 200 OK\r\n", protocol.No},
		{"IRC", "PING :irc.example\r\n", protocol.No},
		{"IRC's server", ":irc.example 001 a :welcome\r\n", protocol.No},
		{"TLS", "\x16\x03\x01\x00\x05", protocol.No},
		{"PostgreSQL's startup", "\x00\x00\x00\x08\x04\xd2\x16\x2f", protocol.No},
		{"PostgreSQL's query", "Q\x00\x00\x00\x0dSELECT 1\x00", protocol.No},
		{"PostgreSQL's closing", "C\x00\x00\x00\x0dSELECT 1\x00", protocol.No},
		{"PostgreSQL's status", "S\x00\x00\x00\x19client_encoding\x00UTF8\x00", protocol.No},
		{"Markdown", "* item\r\n", protocol.No},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := detect([]byte(c.in)); got != c.want {
				t.Errorf("%q: got %d, want %d", c.in, got, c.want)
			}
			for n := range len(c.in) { // nothing is decided on less that more would contradict
				if got := detect([]byte(c.in[:n])); got != protocol.Undecided && got != c.want {
					t.Errorf("%q: got %d, want %d or undecided", c.in[:n], got, c.want)
				}
			}
		})
	}
}
