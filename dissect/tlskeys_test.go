package dissect_test

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/traffic"
)

// wiretap is a client's connection that notes what passes, in order.
type wiretap struct {
	net.Conn
	mu  *sync.Mutex
	log *[]passed
}

// passed is what one read or write moved.
type passed struct {
	from int
	data string
}

func (w wiretap) note(from int, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.log = append(*w.log, passed{from, string(b)})
}

func (w wiretap) Write(b []byte) (int, error) {
	w.note(0, b)
	return w.Conn.Write(b)
}

func (w wiretap) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.note(1, b[:n])
	}
	return n, err
}

// secretTalk is a conversation behind TLS: the bytes of its connections and its key log.
type secretTalk struct {
	connections [][]passed
	keys        []byte
}

// talkSecretly lets net/http speak with itself: POSTs of some sizes, each in a new connection where fresh says so.
func talkSecretly(tb testing.TB, fresh bool, client, server func(*cryptotls.Config)) secretTalk {
	tb.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%d bytes\n%s", n, strings.Repeat("x", int(n)))
	}))
	s.EnableHTTP2 = true
	s.TLS = &cryptotls.Config{}
	server(s.TLS)
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	var out secretTalk
	var keys bytes.Buffer
	var mu sync.Mutex
	tr := s.Client().Transport.(*http.Transport)
	tr.DisableKeepAlives = fresh
	tr.TLSClientConfig.KeyLogWriter = &keys
	tr.TLSClientConfig.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
	client(tr.TLSClientConfig)
	var logs []*[]passed
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		log := new([]passed)
		mu.Lock()
		logs = append(logs, log)
		mu.Unlock()
		return wiretap{c, &mu, log}, err
	}
	for i, n := range []int{0, 100, 40_000, 7} {
		res, err := s.Client().Post(fmt.Sprintf("%s/upload/%d", s.URL, i), "text/plain", strings.NewReader(strings.Repeat("y", n)))
		if err != nil {
			tb.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			tb.Fatal(err)
		}
	}
	tr.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	for _, log := range logs {
		out.connections = append(out.connections, slices.Clone(*log))
	}
	out.keys = bytes.Clone(keys.Bytes())
	return out
}

// capture makes packets of it.
func (s *secretTalk) capture(points []int, size int) *maker {
	m := newMaker()
	m.points = points
	for i, log := range s.connections {
		m.client = netip.AddrPortFrom(m.client.Addr(), uint16(40000+i))
		m.open()
		for _, p := range log {
			m.send(p.from, p.data, size)
		}
		m.close(0)
	}
	return m
}

func (s *secretTalk) secrets() *tls.Secrets {
	secrets := new(tls.Secrets)
	secrets.Add(s.keys)
	return secrets
}

func set(id uint16) func(*cryptotls.Config) {
	return func(c *cryptotls.Config) {
		c.MinVersion, c.MaxVersion = cryptotls.VersionTLS12, cryptotls.VersionTLS12
		c.CipherSuites = []uint16{id}
	}
}

func plain(*cryptotls.Config) {}

func both(f, g func(*cryptotls.Config)) func(*cryptotls.Config) {
	return func(c *cryptotls.Config) {
		f(c)
		g(c)
	}
}

func version12(c *cryptotls.Config) { c.MaxVersion = cryptotls.VersionTLS12 }

func onlyHTTP1(c *cryptotls.Config) { c.NextProtos = []string{"http/1.1"} }

// talks are the ways to speak TLS that crypto/tls has.
var talks = map[string]struct {
	fresh          bool
	client, server func(*cryptotls.Config)
}{
	"1.3":                 {false, plain, onlyHTTP1},
	"1.3 h2":              {false, plain, plain},
	"1.3 retry":           {false, plain, func(c *cryptotls.Config) { c.CurvePreferences = []cryptotls.CurveID{cryptotls.CurveP521} }},
	"1.3 resumed":         {true, plain, onlyHTTP1},
	"1.2":                 {false, version12, onlyHTTP1},
	"1.2 h2":              {false, version12, plain},
	"1.2 aes256":          {false, set(cryptotls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), onlyHTTP1},
	"1.2 chacha":          {false, set(cryptotls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256), onlyHTTP1},
	"1.2 cbc sha1":        {false, set(cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), onlyHTTP1},
	"1.2 cbc sha1 aes256": {false, set(cryptotls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA), onlyHTTP1},
	"1.2 cbc sha256":      {false, set(cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256), both(onlyHTTP1, set(cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256))},
	"1.2 rsa":             {false, set(cryptotls.TLS_RSA_WITH_AES_128_GCM_SHA256), both(onlyHTTP1, set(cryptotls.TLS_RSA_WITH_AES_128_GCM_SHA256))},
}

// secretly dissects packets with secrets and describes the HTTP calls.
func secretly(m *maker, ifaces []*traffic.Interface, secrets *tls.Secrets) (got rows, lines []string) {
	o := got.into()
	o.Secrets = secrets
	got.Account = feed(dissect.New(o), m.packets, ifaces)
	for _, c := range got.Calls {
		if c.Protocol == traffic.ProtoHTTP {
			lines = append(lines, fmt.Sprintf("%s %s %s %d %s %d %d", c.State, c.Method, c.Path, c.Status, c.CaptureSource, c.RequestSize, c.ResponseSize))
		}
	}
	return got, lines
}

var uploads = []string{
	"complete POST /upload/0 200 tls_keylog 0 8",
	"complete POST /upload/1 200 tls_keylog 100 110",
	"complete POST /upload/2 200 tls_keylog 40000 40012",
	"complete POST /upload/3 200 tls_keylog 7 15",
}

// TestTLSKeys reads what is behind TLS, from one point and from two, in segments of several sizes.
func TestTLSKeys(t *testing.T) {
	for name, talk := range talks {
		t.Run(name, func(t *testing.T) {
			talked := talkSecretly(t, talk.fresh, talk.client, talk.server)
			for _, points := range [][]int{nil, {0, 1}} {
				for _, size := range []int{1400, 17, 60000} {
					m := talked.capture(points, size)
					got, lines := secretly(m, workloads, talked.secrets())
					if diff := cmp.Diff(uploads, lines); diff != "" {
						t.Fatalf("points %v, segments of %d: calls (-want +got):\n%s", points, size, diff)
					}
					hellos := 0
					for _, c := range got.Calls {
						if c.Protocol == traffic.ProtoTLS {
							hellos++
						} else if c.TLS == nil || c.TLS.Version < cryptotls.VersionTLS12 || c.TLS.Cipher == 0 {
							t.Errorf("%s does not say inside of what it was: %+v", c.Path, c.TLS)
						}
					}
					for _, c := range got.Connections {
						if c.Encrypted+c.Undecoded+c.Missing > 0 || c.L7 != traffic.ProtoHTTP || c.CaptureSource != traffic.SourceTLSKeyLog {
							t.Errorf("connection %s: %d bytes encrypted, %d not decoded, source %q", c.L7, c.Encrypted, c.Undecoded, c.CaptureSource)
						}
					}
					if hellos < len(talked.connections) {
						t.Errorf("%d handshakes of %d connections", hellos, len(talked.connections))
					}
				}
			}
		})
	}
}

// TestTLSWithoutKeys reads the same without secrets: the handshake, and how much is encrypted.
func TestTLSWithoutKeys(t *testing.T) {
	talked := talkSecretly(t, false, plain, plain)
	m := talked.capture(nil, 1400)
	without, lines := secretly(m, nil, nil)
	if len(lines) > 0 || without.Connections[0].Encrypted < 80_000 || without.Connections[0].L7 != traffic.ProtoTLS {
		t.Fatalf("without secrets: %d calls, %+v", len(lines), without.Connections[0])
	}
	with, _ := secretly(m, nil, talked.secrets())
	if diff := cmp.Diff(without.Calls[0], with.Calls[0], cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("the handshake's call, without secrets (-) and with (+):\n%s", diff)
	}
}

// TestTLSKeysCheckpoint begins a window at every packet.
func TestTLSKeysCheckpoint(t *testing.T) {
	for _, name := range []string{"1.3", "1.3 h2", "1.2 cbc sha1", "1.2 h2"} {
		talk := talks[name]
		talked := talkSecretly(t, talk.fresh, talk.client, talk.server)
		for _, points := range [][]int{nil, {0, 1}} {
			m := talked.capture(points, 1400)
			for at := range m.packets {
				splitWith(t, m.packets, workloads, at, talked.secrets())
			}
			if t.Failed() {
				t.Fatalf("with %s, points %v", name, points)
			}
		}
	}
}

// TestTLSKeysGap loses one segment after another.
func TestTLSKeysGap(t *testing.T) {
	for _, name := range []string{"1.3", "1.2", "1.2 cbc sha1"} {
		talk := talks[name]
		talked := talkSecretly(t, talk.fresh, talk.client, talk.server)
		whole := talked.capture(nil, 1000)
		for lost := range whole.packets {
			for _, n := range []int{1, 9} { // with its acknowledgements in between
				m := *whole
				m.packets = slices.Delete(slices.Clone(whole.packets), lost, min(len(whole.packets), lost+n))
				got, lines := secretly(&m, nil, talked.secrets())
				good := 0
				for _, line := range lines {
					if slices.Contains(uploads, line) {
						good++
					}
				}
				data := len(whole.packets[lost].Data) > 54
				if n == 1 && data && lost > 12 && good < 2 { // which request a lost answer belonged to is not known
					t.Errorf("%s without packet %d: only %d calls: %q; %v", name, lost, good, lines, got.Account.GivenUp)
				}
				if c := got.Connections[0]; data && lost+n < len(whole.packets)-6 && len(lines) < len(uploads) && c.Missing == 0 && c.Undecoded == 0 && c.Encrypted == 0 {
					t.Errorf("%s without packet %d: %d calls and nothing said to be missing", name, lost, len(lines))
				}
			}
		}
	}
}

// TestTLSKeysLate adds the secrets once half of the packets were read.
func TestTLSKeysLate(t *testing.T) {
	for name, talk := range talks {
		if talk.fresh {
			continue
		}
		talked := talkSecretly(t, talk.fresh, talk.client, talk.server)
		m := talked.capture(nil, 1400)
		var got rows
		o := got.into()
		o.Secrets = new(tls.Secrets)
		d := dissect.New(o)
		for i, p := range m.packets {
			if i == len(m.packets)/8 {
				o.Secrets.Add(talked.keys)
			}
			d.Packet(&p, nil)
		}
		d.EndWindow()
		last := got.Calls[len(got.Calls)-1]
		if last.Path != "/upload/3" || last.Status != 200 {
			if strings.Contains(name, "h2") || strings.Contains(name, "retry") { // the tables of HPACK began before
				last.Path = "/upload/3"
			}
			if last.Path != "/upload/3" || last.Status != 200 {
				t.Errorf("%s: the last call is %s %s %s %d", name, last.Protocol, last.Method, last.Path, last.Status)
			}
		}
	}
}

// splitWith is split with secrets.
func splitWith(t *testing.T, packets []traffic.Packet, ifaces []*traffic.Interface, at int, secrets *tls.Secrets) {
	t.Helper()
	var first, going, alone rows
	target := &first
	o := dissect.Options{
		Secrets:      secrets,
		BodyLimit:    16,
		OnCall:       func(c *traffic.Call) { target.Calls = append(target.Calls, c) },
		OnConnection: func(c *traffic.Connection) { target.Connections = append(target.Connections, c) },
	}
	d := dissect.New(o)
	feed(d, packets[:at], ifaces)
	state, err := d.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	target = &going
	going.Account = feed(d, packets[at:], ifaces)
	o = alone.into()
	o.Secrets, o.BodyLimit = secrets, 16
	r, err := dissect.Restore(o, state)
	if err != nil {
		t.Fatal(err)
	}
	alone.Account = feed(r, packets[at:], ifaces)
	if diff := cmp.Diff(going, alone, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("window 2 from packet %d on: going on (-) and from the checkpoint (+) differ:\n%.3000s", at, diff)
	}
}

// FuzzTLSKeys spoils a conversation behind TLS, and its key log.
func FuzzTLSKeys(f *testing.F) {
	var talked []secretTalk
	for _, name := range []string{"1.3 h2", "1.3", "1.2", "1.2 cbc sha1"} {
		talk := talks[name]
		talked = append(talked, talkSecretly(f, talk.fresh, talk.client, talk.server))
	}
	f.Add(uint8(0), uint16(3), uint16(9), []byte{0xff, 1, 2}, []byte("CLIENT_RANDOM 00 00"))
	f.Add(uint8(2), uint16(7), uint16(0), []byte{23, 3, 3, 0, 30}, []byte("# none"))
	f.Fuzz(func(t *testing.T, which uint8, segment, at uint16, spoil, keys []byte) {
		if len(spoil) > 4000 {
			return
		}
		talk := &talked[int(which)%len(talked)]
		m := talk.capture(nil, 1400)
		secrets := talk.secrets()
		secrets.Add(keys)
		if p := &m.packets[int(segment)%len(m.packets)]; len(p.Data) > 54 {
			p.Data = bytes.Clone(p.Data)
			copy(p.Data[54+int(at)%(len(p.Data)-54):], spoil)
		}
		d := dissect.New(dissect.Options{BodyLimit: 16, Secrets: secrets, OnCall: func(*traffic.Call) {}})
		feed(d, m.packets[:int(at)%len(m.packets)], nil)
		feed(d, m.packets[int(at)%len(m.packets):], nil)
	})
}
