package dissect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// long compresses well, and is longer than what coder/websocket sends plain.
var long = strings.Repeat("the same words again, ", 60)

// serveSocket is coder/websocket: it echoes messages, says what it is asked to say unasked, and ends as it is told to.
func serveSocket(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/refused" {
		http.Error(w, "no socket here", http.StatusForbidden)
		return
	}
	modes := map[string]websocket.CompressionMode{"/packed": websocket.CompressionContextTakeover, "/fresh": websocket.CompressionNoContextTakeover}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: modes[r.URL.Path], InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		switch string(b) {
		case "push":
			for i := range 3 {
				err = errors.Join(err, c.Write(r.Context(), kind, fmt.Appendf(nil, "tick %d", i)))
			}
		case "leave":
			_ = c.Close(4001, "go away")
			return
		case "vanish":
			return
		default:
			err = c.Write(r.Context(), kind, b)
		}
		if err != nil {
			return
		}
	}
}

// node speaks through the WebSocket of Node.js, which is undici's.
const node = `
const [url, say] = process.argv.slice(1)
const s = new WebSocket(url)
s.binaryType = "arraybuffer"
const list = ["hello from node", new Uint8Array([0, 1, 2, 255]), say]
const next = () => { if (list.length) s.send(list.shift()); else s.close(3000, "enough") }
s.onopen = s.onmessage = next
s.onclose = () => process.exit(0)
s.onerror = (e) => { console.error(e); process.exit(1) }`

// everyWebSocket lets coder/websocket and, where it is there, Node.js speak in every way that they have.
func everyWebSocket(string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		l, err := net.Listen("tcp", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: http.HandlerFunc(serveSocket)}
		go server.Serve(l)
		defer server.Close()
		err = errors.Join(
			talkSocket(ctx, "/plain?tenant=a", websocket.CompressionDisabled, plainSocket),
			talkSocket(ctx, "/packed", websocket.CompressionContextTakeover, packedSocket),
			talkSocket(ctx, "/fresh", websocket.CompressionNoContextTakeover, packedSocket),
			talkSocket(ctx, "/leave", websocket.CompressionDisabled, leftBySocket),
			talkSocket(ctx, "/vanish", websocket.CompressionDisabled, vanishedSocket),
			cutSocket(ctx),
		)
		if _, _, refused := websocket.Dial(ctx, base+"/refused", nil); refused == nil {
			err = errors.Join(err, errors.New("/refused was not"))
		}
		if path, missing := exec.LookPath("node"); missing == nil {
			out, failed := exec.CommandContext(ctx, path, "--experimental-websocket", "-e", node, base+"/packed", long).CombinedOutput()
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("node: %w: %s", failed, out))
			}
		}
		return err
	}
}

func talkSocket(ctx context.Context, path string, mode websocket.CompressionMode, talk func(context.Context, *websocket.Conn) error) error {
	c, _, err := websocket.Dial(ctx, base+path, &websocket.DialOptions{CompressionMode: mode})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := talk(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// echoed sends a message in parts, and reads as many messages as come back.
func echoed(ctx context.Context, c *websocket.Conn, kind websocket.MessageType, answers int, parts ...string) error {
	w, err := c.Writer(ctx, kind)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := io.WriteString(w, p); err != nil {
			return err
		}
	}
	err = w.Close()
	for range answers {
		_, _, failed := c.Read(ctx)
		err = errors.Join(err, failed)
	}
	return err
}

func plainSocket(ctx context.Context, c *websocket.Conn) error {
	err := errors.Join(
		echoed(ctx, c, websocket.MessageText, 1, `{"hello":"größe"}`),
		echoed(ctx, c, websocket.MessageBinary, 1, "\x00\x01\xff"),
		echoed(ctx, c, websocket.MessageText, 1, strings.Repeat("a", 6000), strings.Repeat("b", 6000), "c"),
		echoed(ctx, c, websocket.MessageText, 3, "push"),
	)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { // pongs are found by who reads
		defer close(done)
		_, _, _ = c.Read(reading)
	}()
	err = errors.Join(err, c.Ping(ctx), c.Close(websocket.StatusNormalClosure, "bye"))
	<-done
	return err
}

func packedSocket(ctx context.Context, c *websocket.Conn) error {
	return errors.Join(
		echoed(ctx, c, websocket.MessageText, 1, long),
		echoed(ctx, c, websocket.MessageText, 1, long, "and more"),
		echoed(ctx, c, websocket.MessageText, 1, "short"),
		c.Close(websocket.StatusGoingAway, ""),
	)
}

func leftBySocket(ctx context.Context, c *websocket.Conn) error {
	err := echoed(ctx, c, websocket.MessageText, 0, "leave")
	if _, _, ended := c.Read(ctx); websocket.CloseStatus(ended) != 4001 {
		return errors.Join(err, fmt.Errorf("ended by %w", ended))
	}
	return err
}

func vanishedSocket(ctx context.Context, c *websocket.Conn) error {
	err := echoed(ctx, c, websocket.MessageText, 0, "vanish")
	if _, _, ended := c.Read(ctx); !errors.Is(ended, io.EOF) {
		return errors.Join(err, fmt.Errorf("ended by %w", ended))
	}
	return err
}

// cutSocket is a client that ends within a message.
func cutSocket(ctx context.Context) error {
	c, _, err := websocket.Dial(ctx, base+"/cut", nil)
	if err != nil {
		return err
	}
	w, err := c.Writer(ctx, websocket.MessageText)
	if err == nil {
		_, err = io.WriteString(w, strings.Repeat("x", 5000))
	}
	return errors.Join(err, c.CloseNow())
}

// socketLine is all that a message is, in a line.
func socketLine(c *traffic.Call) string {
	w := c.WebSocket
	from := ">"
	if w.FromServer {
		from = "<"
	}
	s := fmt.Sprintf("%s %s %s %d %.24q", c.Path, from, w.Opcode, w.Length, w.Payload)
	for _, x := range []struct {
		on   bool
		name string
	}{{w.Fragments != 1, fmt.Sprint(w.Fragments, " fragments")}, {w.Compressed, "compressed"}, {w.CloseCode != 0, fmt.Sprint("code ", w.CloseCode)},
		{w.PayloadCut, "cut"}, {w.Error != "", w.Error}, {c.State != traffic.StateComplete, string(c.State) + " " + c.Error}} {
		if x.on {
			s += ", " + x.name
		}
	}
	return s
}

func socketLines(calls []*traffic.Call) (list []string) {
	for _, c := range calls {
		if c.WebSocket != nil {
			list = append(list, socketLine(c))
		}
	}
	return list
}

// TestWebSocketReal compares every field of what was read with what coder/websocket and Node.js said.
func TestWebSocketReal(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "node")
	file := filepath.Join(t.TempDir(), "ws.pcapng")
	child(t, "websocket", file)
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "websocket_real.txt"))
	got := strings.Join(socketLines(calls), "\n") + "\n"
	if *update {
		err = os.WriteFile(filepath.Join("testdata", "websocket_real.txt"), []byte(got), 0o644)
		want = []byte(got)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" || err != nil {
		t.Errorf("messages (-want +got): %v\n%s", err, diff)
	}
	for _, c := range conns {
		if c.Undecoded+c.Missing > 0 {
			t.Errorf("%s to %s: %d bytes not decoded, %d missing", c.L7, c.Dst.Addr(), c.Undecoded, c.Missing)
		}
	}
	for kfl, n := range map[string]int{
		`http && path == "/refused" && status_code == 403`:                                             1,
		`http && status_code == 101 && path == "/plain" && query_string["tenant"] == "a"`:              1,
		`ws && ws_request && ws_request_payload_data.contains("größe")`:                                1,
		`ws && ws_response && ws_response_payload_data == "tick 2"`:                                    1,
		`ws && ws_request_payload_length == 12001 && ws_fragments > 1`:                                 1,
		`ws && ws_response_payload_length == 12001`:                                                    1,
		`ws && ws_opcode == "close" && ws_close_code == 4001 && ws_response_payload_data == "go away"`: 1,
		`ws && ws_opcode == "close" && ws_close_code == 3000 && ws_request_payload_data == "enough"`:   1,
		`ws && ws_opcode == "ping" && ws_request`:                                                      1,
		`ws && ws_opcode == "pong" && ws_response`:                                                     1,
		`ws && ws_payload_cut && path == "/cut"`:                                                       1,
		`ws && ws_error != ""`:                                                                         0,
	} {
		if got := count(t, kfl, calls); got != n {
			t.Errorf("%s selects %d calls, want %d", kfl, got, n)
		}
	}
	joinSockets(t, file, calls)
}

// count is how many of the calls a filter selects.
func count(t *testing.T, kfl string, calls []*traffic.Call) (n int) {
	t.Helper()
	f, err := filter.Compile(kfl)
	if err != nil {
		t.Fatalf("%s: %v", kfl, err)
	}
	for _, c := range calls {
		ok, err := f.Match(&filter.Row{Call: c})
		if err != nil {
			t.Fatalf("%s: %v", kfl, err)
		}
		if ok {
			n++
		}
	}
	return n
}

// joinSockets begins behind each upgrade in turn: where the client's first message is a text in the clear that is not short, what the
// connection says is read, without its path.
func joinSockets(t *testing.T, file string, calls []*traffic.Call) {
	packets, ifaces := readPackets(file, 1<<20)
	told := 0
	for _, up := range calls {
		var whole, joined []string
		for _, c := range calls {
			if c.WebSocket != nil && c.ConnID == up.ConnID && !c.WebSocket.Compressed {
				whole = append(whole, strings.TrimPrefix(socketLine(c), c.Path))
			}
		}
		if up.Status != 101 || len(whole) < 2 || !strings.Contains(whole[0]+whole[1], "hello") {
			continue
		}
		told++
		var got rows
		feed(dissect.New(got.into()), packets[up.ResponsePackets.Last:], ifaces)
		for _, c := range got.Calls {
			switch w := c.WebSocket; {
			case w == nil || c.Src.Port != up.Src.Port:
			case !w.Compressed:
				joined = append(joined, socketLine(c))
			case len(w.Payload) > 0 || w.Error == "":
				t.Errorf("joined late: %s", socketLine(c))
			}
		}
		if diff := cmp.Diff(whole, joined); diff != "" {
			t.Errorf("%s from the whole connection (-) and joined late (+):\n%s", up.Path, diff)
		}
	}
	if told != 2 {
		t.Errorf("%d connections begin with a text that tells what they are, want 2", told)
	}
}
