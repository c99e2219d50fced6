package standin

import (
	"bytes"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
)

func TestRedisAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sent, want string }{
		{"unknown key", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "$-1\r\n"},
		{"what was set", "*5\r\n$3\r\nset\r\n$1\r\na\r\n$2\r\nhi\r\n$2\r\nEX\r\n$2\r\n60\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "+OK\r\n$2\r\nhi\r\n"},
		{"deleted", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n", "+OK\r\n:1\r\n"},
		{"pipelined", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", "+PONG\r\n+PONG\r\n"},
		{"keys", "*3\r\n$3\r\nSET\r\n$3\r\na:1\r\n$0\r\n\r\n*2\r\n$4\r\nKEYS\r\n$3\r\na:*\r\n", "+OK\r\n*1\r\n$3\r\na:1\r\n"},
		{"unknown command", "*1\r\n$5\r\nHELPS\r\n", "-ERR unknown command for the devloop stand-in\r\n"},
		{"no command", "GET a\r\n", "-ERR expected '*', got \"GET a\"\r\n"},
		{"too long", "*1\r\n$99999999\r\n", "-ERR a word of 99999999 bytes\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := answer(NewRedis().Handle, []byte(c.sent)); string(got) != c.want {
				t.Errorf("sent %q, got %q, want %q", c.sent, got, c.want)
			}
		})
	}
}

// conversation is a connection whose client has said everything already.
type conversation struct {
	net.Conn
	said     *bytes.Reader
	answered bytes.Buffer
}

func (c *conversation) Read(b []byte) (int, error)  { return c.said.Read(b) }
func (c *conversation) Write(b []byte) (int, error) { return c.answered.Write(b) }

func answer(handle func(net.Conn), sent []byte) []byte {
	c := &conversation{said: bytes.NewReader(sent)}
	handle(c)
	return c.answered.Bytes()
}

func FuzzRedis(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"))
	f.Add([]byte("*-1\r\n$-1\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) { answer(NewRedis().Handle, sent) })
}

func FuzzPostgres(f *testing.F) {
	start := mustEncode(f, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "shop"}})
	prepared := bytes.Join([][]byte{
		start,
		mustEncode(f, &pgproto3.Parse{Name: "a", Query: database.InsertItem}),
		mustEncode(f, &pgproto3.Describe{ObjectType: 'S', Name: "a"}),
		mustEncode(f, &pgproto3.Bind{PreparedStatement: "a", Parameters: [][]byte{[]byte("1"), []byte("cup"), nil}}),
		mustEncode(f, &pgproto3.Execute{}), mustEncode(f, &pgproto3.Sync{}),
	}, nil)
	f.Add(start)
	f.Add(prepared)
	f.Add(append(append([]byte(nil), start...), mustEncode(f, &pgproto3.Query{String: database.SelectItems})...))
	f.Fuzz(func(t *testing.T, sent []byte) { answer(NewPostgres().Handle, sent) })
}

func mustEncode(t testing.TB, m pgproto3.FrontendMessage) []byte {
	t.Helper()
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
