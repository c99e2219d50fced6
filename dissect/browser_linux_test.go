package dissect_test

import (
	"context"
	cryptotls "crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// page speaks WebSocket with the connection that it was loaded over (RFC 8441), then reads Server-Sent Events.
const page = `<!doctype html><script>
const done = () => fetch("/done")
const s = new WebSocket("wss://" + location.host + "/socket?tenant=a")
s.binaryType = "arraybuffer"
const list = ["hello from a browser", "größer ".repeat(200), new Uint8Array([0, 1, 2, 255])]
s.onopen = s.onmessage = () => { if (list.length) s.send(list.shift()); else s.close(3001, "done") }
s.onclose = () => {
  const e = new EventSource("/events")
  e.addEventListener("order", () => { e.close(); done() })
  e.onerror = done
}
s.onerror = done
</script>`

// browse lets Chromium load the page from Go's server, over TLS.
func browse(file string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		seen, loaded := context.WithCancel(ctx)
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, page) })
		mux.HandleFunc("/socket", socketOver2)
		mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, ": hello\n\nretry: 60000\nid: 1\ndata: one\ndata: and more\n\n")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "event: order\nid: 2\ndata: two\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done() // the browser leaves
		})
		mux.HandleFunc("/done", func(http.ResponseWriter, *http.Request) { loaded() })
		keys, err := os.Create(file + ".keys")
		if err != nil {
			return err
		}
		defer keys.Close()
		s := httptest.NewUnstartedServer(mux)
		s.EnableHTTP2, s.TLS = true, &cryptotls.Config{KeyLogWriter: keys}
		s.Config.ErrorLog = nil
		s.StartTLS()
		defer s.CloseClientConnections()
		home, err := os.MkdirTemp(filepath.Dir(file), "browser")
		if err != nil {
			return err
		}
		defer os.RemoveAll(home)
		running, stop := context.WithCancel(ctx)
		defer stop()
		cmd := exec.CommandContext(running, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
			"--disable-background-networking", "--disable-component-update", "--no-first-run", "--user-data-dir="+home, s.URL+"/")
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 10 * time.Second
		if err := cmd.Start(); err != nil {
			return err
		}
		<-seen.Done()
		stop()
		_ = cmd.Wait()
		if ctx.Err() != nil {
			return errors.New("the browser did not come to the page's end")
		}
		return nil
	}
}

// socketOver2 answers an extended CONNECT, with permessage-deflate: no Go server of WebSocket does as yet. It counts what it is told.
func socketOver2(w http.ResponseWriter, r *http.Request) {
	if r.Method != "CONNECT" || r.Header.Get(":protocol") != "websocket" {
		http.Error(w, "only over HTTP/2", http.StatusBadRequest)
		return
	}
	w.Header().Set("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover; server_no_context_takeover")
	flush := w.(http.Flusher).Flush
	flush()
	for n := 1; ; n++ {
		op, payload, err := readMasked(r.Body)
		if err != nil {
			return
		}
		answer := wsFrame(1, 0xc1, newWSDeflater().pack(fmt.Sprint("answer ", n, strings.Repeat(" again", 20))))
		switch op {
		case 2:
			answer = wsFrame(1, 0x82, "\xff\x00")
		case 8:
			answer = wsFrame(1, 0x88, string(payload))
		}
		_, _ = io.WriteString(w, answer)
		if flush(); op == 8 {
			return
		}
	}
}

// readMasked reads a frame of a client.
func readMasked(r io.Reader) (op byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 127)
	if n == 126 {
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	b := make([]byte, 4+n)
	_, err = io.ReadFull(r, b)
	for i := range b[4:] {
		b[4+i] ^= b[i&3]
	}
	return head[0] & 15, b[4:], err
}

// TestBrowser reads what Chromium said: WebSocket over HTTP/2, in TLS, beside other calls of the same connection, and Server-Sent Events.
func TestBrowser(t *testing.T) {
	golden := filepath.Join("testdata", "browser", "input.pcapng")
	live := func(t *testing.T) string {
		testenv.NeedsRoot(t)
		if _, err := exec.LookPath("chromium"); err != nil {
			t.Skip("needs Chromium; what it said once is in testdata/browser")
		}
		t.Setenv("GODEBUG", "http2xconnect=1") // Go's server takes an extended CONNECT only then
		file := filepath.Join(t.TempDir(), "browser.pcapng")
		child(t, "browser", file)
		keys, err := os.ReadFile(file + ".keys")
		if err != nil {
			t.Fatal(err)
		}
		return withSecrets(t, file, keys)
	}
	if *update {
		b, err := os.ReadFile(live(t))
		if err == nil {
			err = os.WriteFile(golden, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("golden", func(t *testing.T) { checkBrowser(t, golden) })
	t.Run("live", func(t *testing.T) { checkBrowser(t, live(t)) })
}

func checkBrowser(t *testing.T, file string) {
	calls := dissectWithSecrets(t, file)
	want := []string{
		`/socket > text 20 "hello from a browser", compressed`,
		`/socket < text 128 "answer 1 again again aga", compressed`,
		`/socket > text 1800 "größer größer größer grö", compressed`,
		`/socket < text 128 "answer 2 again again aga", compressed`,
		`/socket > binary 4 "\x00\x01\x02\xff", compressed`,
		`/socket < binary 2 "\xff\x00"`,
		`/socket > close 6 "done", code 3001`,
		`/socket < close 6 "done", code 3001`,
	}
	if diff := cmp.Diff(want, socketLines(calls)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	for kfl, n := range map[string]int{
		`http && method == "CONNECT" && path == "/socket" && status_code == 200 && http_version == "2" && query_string["tenant"] == "a"`: 1,
		`ws && capture_source == "tls_keylog" && tls`:                                            0,
		`ws && capture_source == "tls_keylog"`:                                                   8,
		`http && event_stream && stream.events == 2 && path == "/events" && http_version == "2"`: 1,
		`http && event_stream && request.headers["accept"] == "text/event-stream"`:               1,
		`http && path == "/done"`:                                                                1,
	} {
		if got := count(t, kfl, calls); got != n {
			t.Errorf("%s selects %d calls, want %d", kfl, got, n)
		}
	}
	for _, c := range calls {
		if c.Path != "/events" {
			continue
		}
		if c.Error != traffic.ErrorCancelled || c.State != traffic.StateTruncated || c.HTTP.FirstEvent < c.ResponseStart || !strings.Contains(string(c.HTTP.ResponseBody), "event: order\nid: 2") {
			t.Errorf("events: %s %s, first at %d of %d, %q", c.State, c.Error, c.HTTP.FirstEvent, c.ResponseStart, c.HTTP.ResponseBody)
		}
	}
}
