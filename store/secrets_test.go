package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// overheard is a client's connection that writes down what passes.
type overheard struct {
	net.Conn
	mu   *sync.Mutex
	talk *talk
}

func (o overheard) Write(b []byte) (int, error) {
	o.mu.Lock()
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 1400)
		o.talk.request(string(rest[:n]))
		rest = rest[n:]
	}
	o.mu.Unlock()
	return o.Conn.Write(b)
}

func (o overheard) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := b[:n]; len(rest) > 0; {
		k := min(len(rest), 1400)
		o.talk.respond(string(rest[:k]))
		rest = rest[k:]
	}
	return n, err
}

// secret is a real conversation over HTTPS, and its key log.
func secret(t testing.TB) (packets []traffic.Packet, keyLog []byte) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the tea is green") }))
	defer s.Close()
	var keys bytes.Buffer
	var mu sync.Mutex
	c := newTalk(t, 40001, 1e18)
	transport := s.Client().Transport.(*http.Transport)
	transport.TLSClientConfig.KeyLogWriter = &keys
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return overheard{conn, &mu, c}, err
	}
	res, err := s.Client().Get(s.URL + "/tea")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	transport.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	c.finish()
	return c.packets, keys.Bytes()
}

// TestSecrets seals a key log with the packets that it opens: the snapshot opens them ever after, and so does an export of all
// that is there; a masked one takes nothing along that would.
func TestSecrets(t *testing.T) {
	t.Parallel()
	packets, keyLog := secret(t)
	dir := filepath.Join(t.TempDir(), Folder)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Seal(t.Context(), SealRequest{ID: "i1", Segments: recorded(t, s, packets), WindowStart: 1, WindowEnd: 2, KeyLog: keyLog, Source: "tap"})
	if err != nil {
		t.Fatal(err)
	}
	sn.Close()
	if info, err := os.Stat(filepath.Join(s.path("i1"), secretsName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the sealed key log: %v, %v; want mode 0600", info.Mode(), err)
	}

	again, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err = again.Snapshot("i1")
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if lines, err := sn.KeyLog(); err != nil || !bytes.Equal(lines, keyLog) {
		t.Errorf("the key log of the snapshot is %q, %v; sealed was %q", lines, err, keyLog)
	}
	if err := sn.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	d, err := sn.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opens(t, "the snapshot", d, true)

	for _, c := range []struct {
		name string
		o    ExportOptions
	}{{"masked", ExportOptions{}}, {"raw", ExportOptions{Raw: true}}, {"raw slice", ExportOptions{Raw: true, From: 1, To: 1000}}} {
		path := exportTo(t, sn, c.o)
		lines, err := pcapfile.Secrets(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(keyLog)) {
			if has := bytes.Contains(b, []byte(strings.TrimSpace(line))); has != c.o.Raw {
				t.Errorf("%s: has a line of the key log: %v, want %v", c.name, has, c.o.Raw)
			}
		}
		if (len(lines) > 0) != c.o.Raw {
			t.Errorf("%s: secrets are %q", c.name, lines)
		}
		d, err := DissectFile(t.Context(), path, FileOptions{Redactor: s.Redactor()})
		if err != nil {
			t.Fatal(err)
		}
		opens(t, c.name, d, c.o.Raw)
	}
}

// opens looks for the call behind TLS, or that there is none.
func opens(t *testing.T, what string, d *traffic.Dissection, want bool) {
	t.Helper()
	got := false
	for _, c := range d.Calls {
		got = got || c.Protocol == traffic.ProtoHTTP && c.Path == "/tea" && c.Status == 200 && c.CaptureSource == traffic.SourceTLSKeyLog
	}
	if got != want {
		t.Errorf("%s: opens the call: %v, want %v, of %d calls and %d connections", what, got, want, len(d.Calls), len(d.Connections))
	}
}
