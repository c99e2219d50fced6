package dissect_test

import (
	"context"
	cryptotls "crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// spoken is a program that is led by its standard input and tells on its output what it does.
type spoken struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	told string // what was not yet waited for
}

func speak(ctx context.Context, name string, args ...string) (*spoken, error) {
	s := &spoken{cmd: exec.CommandContext(ctx, name, args...)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	s.cmd.Stdout, s.cmd.Stderr, s.in, s.out = w, w, in, out
	return s, s.cmd.Start()
}

// say writes, and waits until the listener has told of it.
func (s *spoken) say(text string, listener *spoken, sign string) error {
	if _, err := io.WriteString(s.in, text); err != nil {
		return err
	}
	return listener.wait(sign)
}

func (s *spoken) wait(sign string) error {
	b := make([]byte, 4096)
	for {
		if _, rest, ok := strings.Cut(s.told, sign); ok {
			s.told = rest
			return nil
		}
		n, err := s.out.Read(b)
		if err != nil {
			return fmt.Errorf("%s: waiting for %q: %w: %s", strings.Join(s.cmd.Args, " "), sign, err, s.told)
		}
		s.told += string(b[:n])
	}
}

func (s *spoken) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.in.Close()
	s.out.Close()
}

// openssl is a server and what its clients are started with.
type openssl struct {
	addr, file string
	server     *spoken
}

func serveOpenSSL(ctx context.Context, pair [2]string, file string, args ...string) (*openssl, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &openssl{addr: l.Addr().String(), file: file}
	l.Close()
	o.server, err = speak(ctx, "openssl", append([]string{"s_server", "-accept", o.addr, "-cert", pair[0], "-key", pair[1]}, args...)...)
	if err == nil {
		err = o.server.wait("ACCEPT")
	}
	return o, err
}

func (o *openssl) dial(ctx context.Context, args ...string) (*spoken, error) {
	return speak(ctx, "openssl", append([]string{"s_client", "-connect", o.addr, "-keylogfile", o.file + ".keys"}, args...)...)
}

const said = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsaid\n"

func asking(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: shop\r\nX-End: end" + path + "\r\n\r\n"
}

// ask sends a request from a client that is connected, and answers it.
func (o *openssl) ask(c *spoken, path string) error {
	return errors.Join(c.say(asking(path), o.server, "end"+path), o.server.say(said, c, "said"))
}

// updates lets either side turn to new keys, with and without asking the other side for the same.
func (o *openssl) updates(ctx context.Context) error {
	c, err := o.dial(ctx, "-msg")
	if err != nil {
		return err
	}
	defer c.end()
	const come = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"
	return errors.Join(
		o.ask(c, "/update/none"),
		c.say("K\n", c, "KEYUPDATE"), o.ask(c, "/update/client/both"),
		c.say("k\n", c, "KEYUPDATE"), c.say("k\n", c, "KEYUPDATE"), o.ask(c, "/update/client/alone"),
		o.server.say("K\n", c, come), o.ask(c, "/update/server/both"),
		o.server.say("k\n", c, come), o.ask(c, "/update/server/alone"),
		o.ask(c, "/update/end"),
	)
}

// early sends a request as early data to the server that comes after, and one behind it.
func (o *openssl) early(ctx context.Context, after *openssl, suite, path string, args ...string) error {
	session, file := o.file+".session", o.file+".early"
	c, err := o.dial(ctx, "-sess_out", session, "-ciphersuites", suite)
	if err != nil {
		return err
	}
	defer c.end()
	err = errors.Join(o.ask(c, path+"/full"), os.WriteFile(file, []byte(asking(path+"/early")), 0o600))
	if err != nil {
		return err
	}
	c.end()
	e, err := after.dial(ctx, append(args, "-sess_in", session, "-early_data", file, "-ciphersuites", suite)...)
	if err != nil {
		return err
	}
	defer e.end()
	if after != o || len(args) > 0 { // it has other keys for its tickets, or another hello is asked for
		return errors.Join(e.wait("Early data was rejected"), after.ask(e, path+"/again"))
	}
	return errors.Join(o.server.wait("end"+path+"/early"), e.wait("Early data was accepted"), o.server.say(said, e, "said"), o.ask(e, path+"/late"))
}

// everyKeyChange lets OpenSSL speak with itself in the ways in which keys change within a connection.
func everyKeyChange(file string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		pair, _, stop, err := certified(file)
		if err != nil {
			return err
		}
		defer stop()
		o, err := serveOpenSSL(ctx, pair, file, "-early_data", "-no_anti_replay", "-groups", "X25519")
		if err != nil {
			return err
		}
		defer o.server.end()
		other, err := serveOpenSSL(ctx, pair, file, "-early_data", "-no_anti_replay")
		if err != nil {
			return err
		}
		defer other.server.end()
		return errors.Join(
			o.updates(ctx),
			o.early(ctx, o, "TLS_AES_256_GCM_SHA384", "/aes256"),
			o.early(ctx, o, "TLS_AES_128_GCM_SHA256", "/aes128"),
			o.early(ctx, o, "TLS_CHACHA20_POLY1305_SHA256", "/chacha"),
			o.early(ctx, other, "TLS_AES_128_GCM_SHA256", "/refused"),
			o.early(ctx, o, "TLS_AES_128_GCM_SHA256", "/retry", "-groups", "P-521:X25519"),
		)
	}
}

// certified is a certificate and its key in files, and as a server has them.
func certified(file string) (pair [2]string, config *cryptotls.Config, stop func(), err error) {
	s := httptest.NewTLSServer(nil)
	der, err := pkcs8(s.TLS.Certificates[0].PrivateKey)
	pair = [2]string{file + ".crt", file + ".key"}
	err = errors.Join(err,
		os.WriteFile(pair[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.TLS.Certificates[0].Certificate[0]}), 0o600),
		os.WriteFile(pair[1], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return pair, &cryptotls.Config{Certificates: s.TLS.Certificates}, s.Close, err
}

// TestTLSKeyChanges reads on behind updates of keys, and what was sent before the handshake was over.
func TestTLSKeyChanges(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "openssl")
	file := filepath.Join(t.TempDir(), "keys.pcapng")
	child(t, "tlskeychanges", file)
	keys, err := os.ReadFile(file + ".keys")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range dissectWithSecrets(t, withSecrets(t, file, keys)) {
		if c.Protocol == traffic.ProtoHTTP {
			got = append(got, fmt.Sprint(c.Path, " ", c.State, " ", c.Status))
		}
	}
	var want []string
	for _, path := range []string{"/update/none", "/update/client/both", "/update/client/alone", "/update/server/both", "/update/server/alone", "/update/end",
		"/aes256/full", "/aes256/early", "/aes256/late", "/aes128/full", "/aes128/early", "/aes128/late", "/chacha/full", "/chacha/early", "/chacha/late",
		"/refused/full", "/refused/again", "/retry/full", "/retry/again"} {
		want = append(want, path+" complete 200")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// everyClient lets gRPC, WebSocket and Redis speak over TLS.
func everyClient(file string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		pair, server, stop, err := certified(file)
		if err != nil {
			return err
		}
		defer stop()
		keys, err := os.Create(file + ".keys")
		if err != nil {
			return err
		}
		defer keys.Close()
		client := &cryptotls.Config{InsecureSkipVerify: true, KeyLogWriter: keys}
		return errors.Join(secretCart(ctx, server, client), secretSocket(ctx, client), secretRedis(ctx, pair, client))
	}
}

func secretCart(ctx context.Context, server, client *cryptotls.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(server)))
	g.RegisterService(&grpcService, &cartServer{})
	go g.Serve(l)
	defer g.Stop()
	c, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		return err
	}
	defer c.Close()
	var out text
	return c.Invoke(ctx, "/"+cart+"/Add", wrapperspb.String("tea"), &out)
}

func secretSocket(ctx context.Context, client *cryptotls.Config) error {
	s := httptest.NewTLSServer(http.HandlerFunc(serveSocket))
	defer s.Close()
	c, _, err := websocket.Dial(ctx, s.URL+"/secret", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover,
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: client}}})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	return errors.Join(echoed(ctx, c, websocket.MessageText, 1, "hello"), c.Close(websocket.StatusNormalClosure, "bye"))
}

func secretRedis(ctx context.Context, pair [2]string, client *cryptotls.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	server, err := speak(ctx, "redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", fmt.Sprint(addr.Port), "--save", "", "--dir", os.TempDir(),
		"--tls-cert-file", pair[0], "--tls-key-file", pair[1], "--tls-auth-clients", "no")
	if err != nil {
		return err
	}
	defer server.end()
	if err := server.wait("Ready to accept connections"); err != nil {
		return err
	}
	c := redis.NewClient(&redis.Options{Addr: addr.String(), TLSConfig: client, DisableIdentity: true, PoolSize: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	defer c.Close()
	return c.Set(ctx, "tea", "green", 0).Err()
}

// TestTLSClients reads gRPC, WebSocket and Redis behind TLS.
func TestTLSClients(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "redis-server")
	file := filepath.Join(t.TempDir(), "clients.pcapng")
	child(t, "tlsclients", file)
	keys, err := os.ReadFile(file + ".keys")
	if err != nil {
		t.Fatal(err)
	}
	calls := dissectWithSecrets(t, withSecrets(t, file, keys))
	for kfl, n := range map[string]int{
		`grpc && grpc_method == "Add" && grpc_status == 0 && request.body.contains("tea")`:     1,
		`ws && path == "/secret" && ws_request_payload_data == "hello" && ws_opcode == "text"`: 1,
		`ws && path == "/secret" && ws_response_payload_data == "hello"`:                       1,
		`ws && ws_opcode == "close" && ws_response`:                                            1,
		`redis && redis_command == "SET"`:                                                      1,
		`http && status_code == 101`:                                                           1,
		`!tls && capture_source != "tls_keylog"`:                                               0,
	} {
		if got := count(t, kfl, calls); got != n {
			t.Errorf("%s selects %d calls, want %d", kfl, got, n)
		}
	}
}
