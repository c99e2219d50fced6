package dissect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// A loss counts in the window in which it became known, and over the connection's life.
func TestLossOfAWindow(t *testing.T) {
	t.Parallel()
	m := newMaker()
	m.open()
	m.send(0, get, 1400)
	m.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n", 1400)
	m.lose(1, 3000)
	m.send(0, get, 1400)
	m.send(1, ok, 1400)
	half := len(m.packets)
	m.send(0, get, 1400)
	m.send(1, ok, 1400)
	var first, going, alone rows
	d := dissect.New(first.into())
	feed(d, m.packets[:half], nil)
	state, err := d.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := dissect.Restore(alone.into(), state)
	if err != nil {
		t.Fatal(err)
	}
	feed(restored, m.packets[half:], nil)
	n := len(first.Connections)
	feed(d, m.packets[half:], nil)
	going.Connections = first.Connections[n:]
	for _, x := range []struct {
		window string
		conn   *traffic.Connection
		want   uint64
	}{{"first", first.Connections[0], 3000}, {"second", going.Connections[0], 0}, {"second alone", alone.Connections[0], 0}} {
		if x.conn.Missing != 3000 || x.conn.WindowMissing != x.want {
			t.Errorf("%s window: %d bytes missing, of the window %d; want 3000 and %d", x.window, x.conn.Missing, x.conn.WindowMissing, x.want)
		}
	}
}

// What was lost right before both ends close is missing in the window in which they do, and the connection is closed: no packet of it comes
// that would tell.
func TestLossBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, lost := range []struct {
		name           string
		client, server int
	}{{"request and response", len(get), len(ok)}, {"response", 0, len(ok)}, {"nothing", 0, 0}} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, whole file %t", lost.name, whole), func(t *testing.T) {
				m := newMaker()
				m.open()
				m.send(0, get, 1400)
				m.send(1, ok, 1400)
				if lost.client == 0 {
					m.send(0, get, 1400)
				} else {
					m.lose(0, lost.client)
				}
				if lost.server == 0 {
					m.send(1, ok, 1400)
				} else {
					m.lose(1, lost.server)
				}
				m.close(0)
				var got rows
				account := traffic.Account{}
				if whole {
					next := m.packets
					var err error
					account, err = dissect.Run(t.Context(), func(p *traffic.Packet) error {
						if len(next) == 0 {
							return io.EOF
						}
						*p, next = next[0], next[1:]
						return nil
					}, nil, got.into())
					if err != nil {
						t.Fatal(err)
					}
				} else {
					d := dissect.New(got.into())
					account = feed(d, m.packets, nil)
				}
				c, want := got.Connections[0], uint64(lost.client+lost.server)
				if c.Missing != want || c.WindowMissing != want || account.Missing != want || c.State != traffic.StateClosed || !c.Closed {
					t.Errorf("%d bytes missing, of the window %d, in all %d, want %d; %s", c.Missing, c.WindowMissing, account.Missing, want, c.State)
				}
			})
		}
	}
}

// What was lost before one end closes is missing at the end of a file, whether the other end closes or not.
func TestLossBeforeOneEnd(t *testing.T) {
	t.Parallel()
	m := newMaker()
	m.open()
	m.send(0, get, 1400)
	m.send(1, ok, 1400)
	m.lose(0, len(get))
	m.flag(0, 0x11)
	m.flag(1, 0x10)
	var got rows
	next := m.packets
	account, err := dissect.Run(t.Context(), func(p *traffic.Packet) error {
		if len(next) == 0 {
			return io.EOF
		}
		*p, next = next[0], next[1:]
		return nil
	}, nil, got.into())
	if want := uint64(len(get)); err != nil || account.Missing != want {
		t.Errorf("%d bytes missing, want %d (%v)", account.Missing, want, err)
	}
}

// flight is what one side of a handshake sent at once.
type flight struct {
	from int
	data string
}

// recorded notes what passes a pipe.
type recorded struct {
	net.Conn
	from  int
	mutex *sync.Mutex
	all   *[]flight
}

func (r recorded) Write(b []byte) (int, error) {
	r.mutex.Lock()
	if n := len(*r.all); n > 0 && (*r.all)[n-1].from == r.from {
		(*r.all)[n-1].data += string(b)
	} else {
		*r.all = append(*r.all, flight{r.from, string(b)})
	}
	r.mutex.Unlock()
	return r.Conn.Write(b)
}

// handshake lets Go's own client and server talk, "ping" and "pong" included.
func handshake(t *testing.T, version uint16) []flight {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var all []flight
	var mutex sync.Mutex
	a, b := net.Pipe()
	client := tls.Client(recorded{a, 0, &mutex, &all}, &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true, MaxVersion: version, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"http/1.1"}})
	server := tls.Server(recorded{b, 1, &mutex, &all}, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() {
		var got [4]byte
		_, err := io.ReadFull(server, got[:])
		if err == nil {
			_, err = server.Write([]byte("pong"))
		}
		done <- err
	}()
	var got [4]byte
	_, err = client.Write([]byte("ping"))
	if err == nil {
		_, err = io.ReadFull(client, got[:])
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return all
}

// What the capture lacks of a handshake is no fact about it: not an empty server name, not a broken handshake.
func TestTLSLoss(t *testing.T) {
	t.Parallel()
	type hole struct{ flight, from, to int } // bytes of one flight; to 0 is its end
	tests := []struct {
		name    string
		version uint16
		hole    *hole
		reset   bool
		want    string
	}{
		{"whole", tls.VersionTLS13, nil, false, "complete  sni=shop.test version=0x304 alpn=http/1.1 certs=0 duration=true asked=true"},
		{"whole, 1.2", tls.VersionTLS12, nil, false, "complete  sni=shop.test version=0x303 alpn=http/1.1 certs=1 duration=true asked=true"},
		{"end of the ClientHello", tls.VersionTLS13, &hole{0, 100, 0}, false, "half  sni= version=0x304 alpn= certs=0 duration=false asked=false"},
		{"end of the ClientHello, behind its server name", tls.VersionTLS13, &hole{0, 150, 0}, false, "complete  sni=shop.test version=0x304 alpn= certs=0 duration=true asked=true"},
		{"middle of the ClientHello", tls.VersionTLS13, &hole{0, 50, 100}, false, "half  sni= version=0x304 alpn= certs=0 duration=false asked=false"},
		{"start of the ClientHello", tls.VersionTLS13, &hole{0, 0, 100}, false, "half  sni= version=0x304 alpn= certs=0 duration=false asked=false"},
		{"all of the ClientHello, 1.2", tls.VersionTLS12, &hole{0, 0, 0}, false, "half  sni= version=0x303 alpn=http/1.1 certs=1 duration=false asked=false"},
		{"end of the ServerHello", tls.VersionTLS13, &hole{1, 50, 0}, false, "open  sni=shop.test version=0x0 alpn=http/1.1 certs=0 duration=false asked=true"},
		{"start of the ServerHello", tls.VersionTLS13, &hole{1, 0, 60}, false, "open  sni=shop.test version=0x0 alpn=http/1.1 certs=0 duration=false asked=true"},
		{"all of the server's flight, and a reset", tls.VersionTLS12, &hole{1, 0, 0}, true, "open  sni=shop.test version=0x0 alpn=http/1.1 certs=0 duration=false asked=true"},
		{"certificate", tls.VersionTLS12, &hole{1, 150, 250}, false, "complete  sni=shop.test version=0x303 alpn=http/1.1 certs=0 duration=false asked=true"},
		{"encrypted part of the server's flight", tls.VersionTLS13, &hole{1, 200, 300}, false, "complete  sni=shop.test version=0x304 alpn=http/1.1 certs=0 duration=true asked=true"},
		{"the client's second flight, and a reset", tls.VersionTLS12, &hole{2, 0, 0}, true, "complete  sni=shop.test version=0x303 alpn=http/1.1 certs=1 duration=false asked=true"},
	}
	flights := map[uint16][]flight{tls.VersionTLS12: handshake(t, tls.VersionTLS12), tls.VersionTLS13: handshake(t, tls.VersionTLS13)}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMaker()
			m.open()
			for i, f := range flights[test.version] {
				if h := test.hole; h != nil && h.flight == i {
					to := h.to
					if to == 0 {
						to = len(f.data)
					}
					m.send(f.from, f.data[:h.from], 50)
					m.lose(f.from, to-h.from)
					m.send(f.from, f.data[to:], 50)
					continue
				}
				m.send(f.from, f.data, 50)
			}
			if test.reset {
				m.flag(0, 0x14)
			} else {
				m.close(0)
			}
			var got rows
			feed(dissect.New(got.into()), m.packets, nil)
			var all []string
			for _, c := range got.Calls {
				x := c.TLS
				all = append(all, fmt.Sprintf("%s %s sni=%s version=%#x alpn=%s certs=%d duration=%v asked=%v", c.State, c.Error, x.SNI, x.Version, x.ALPN,
					len(x.Certificates), x.HandshakeNS > 0, c.Asked()))
			}
			if s := strings.Join(all, "\n"); s != test.want {
				t.Errorf("got  %s\nwant %s", s, test.want)
			}
		})
	}
}
