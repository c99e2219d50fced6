package dissect_test

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// run runs a program, which must succeed.
func run(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// everyTLS lets curl and Python speak with Go's server and OpenSSL's, in all the ways that they have. What curl asked for stands
// in file+".log", a path a line.
func everyTLS(file string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		env := []string{"SSLKEYLOGFILE=" + file + ".keys"}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("z", 30_000))
		}))
		s.EnableHTTP2 = true
		s.TLS = &cryptotls.Config{}
		s.StartTLS()
		defer s.Close()
		var log []string
		curl := func(base, path string, args ...string) error {
			log = append(log, path)
			return run(ctx, env, "curl", append(args, "-sk", "-o", "/dev/null", base+path)...)
		}
		err := errors.Join(
			curl(s.URL, "/go/13/h2", "--tlsv1.3", "--http2"),
			curl(s.URL, "/go/13/h1", "--tlsv1.3", "--http1.1"),
			curl(s.URL, "/go/12/h2", "--tls-max", "1.2", "--http2"),
			curl(s.URL, "/go/12/h1", "--tls-max", "1.2", "--http1.1", "-d", strings.Repeat("q", 5000)),
			curl(s.URL, "/go/12/cbc", "--tls-max", "1.2", "--http1.1", "--ciphers", "ECDHE-RSA-AES128-SHA"),
			curl(s.URL, "/go/13/chacha", "--http1.1", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"),
			curl(s.URL, "/go/13/aes128", "--http1.1", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"),
			curl(s.URL, "/go/13/retry", "--http1.1", "--curves", "P-521:X25519"),
		)
		log = append(log, "/python")
		err = errors.Join(err, run(ctx, env, "python3", "-c", `import ssl,sys,urllib.request
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
urllib.request.urlopen(sys.argv[1], context=c).read()`, s.URL+"/python"))
		err = errors.Join(err, withOpenSSL(ctx, s, file, func(base string) error {
			return errors.Join(
				curl(base, "/openssl/13", "--tlsv1.3"),
				curl(base, "/openssl/12", "--tls-max", "1.2"),
				curl(base, "/openssl/12/etm", "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES256-SHA"),
				curl(base, "/openssl/12/etm256", "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-SHA256"),
				curl(base, "/openssl/12/dhe", "--tls-max", "1.2", "--ciphers", "DHE-RSA-AES128-SHA"),
				curl(base, "/openssl/12/rsa", "--tls-max", "1.2", "--ciphers", "AES256-GCM-SHA384"),
			)
		}))
		return errors.Join(err, os.WriteFile(file+".log", []byte(strings.Join(log, "\n")), 0o600))
	}
}

// withOpenSSL runs openssl s_server with the certificate of another server.
func withOpenSSL(ctx context.Context, s *httptest.Server, file string, talk func(base string) error) error {
	cert := s.TLS.Certificates[0]
	key, err := pkcs8(cert.PrivateKey)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file+".pem", text, 0o600); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(ctx, "openssl", "s_server", "-accept", addr, "-cert", file+".pem", "-www", "-quiet", "-cipher", "ALL:@SECLEVEL=0")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return talk("https://" + addr)
}

// TestTLSReal reads what curl and Python said, from a file with a secrets block of ours, and compares with tshark, which reads
// the same file.
func TestTLSReal(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, program := range []string{"curl", "openssl", "python3", "tshark"} {
		testenv.NeedsProgram(t, program)
	}
	file := filepath.Join(t.TempDir(), "tls.pcapng")
	child(t, "tls", file)
	keys, err := os.ReadFile(file + ".keys")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(file + ".log")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(log), "\n")
	opened := withSecrets(t, file, keys)
	calls := dissectWithSecrets(t, opened)
	var got []string
	for _, c := range calls {
		if c.Protocol == traffic.ProtoHTTP {
			if c.State != traffic.StateComplete || c.Status != 200 || c.CaptureSource != traffic.SourceTLSKeyLog {
				t.Errorf("%s %s is %s %d, from %q", c.Method, c.Path, c.State, c.Status, c.CaptureSource)
			}
			got = append(got, c.Path)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths that were asked for (-) and read (+):\n%s", diff)
	}
	out, err := exec.Command("tshark", "-r", opened, "-Y", "http.request or http2.headers.path", "-T", "fields", "-e", "http.request.uri", "-e", "http2.headers.path").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Fields(string(out))
	if diff := cmp.Diff(slices.Sorted(slices.Values(theirs)), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("paths that tshark (-) and we (+) read:\n%s", diff)
	}
}

// encryptedPostgreSQL turns encryption on in a real server, and speaks with it through that.
func encryptedPostgreSQL(file string) func() error {
	return withPostgreSQL(file, func(ctx context.Context, log *pgLog) error {
		open, err := pgConnect(ctx, nil, "disable")
		if err != nil {
			return err
		}
		defer open.Close(ctx)
		var dir string
		if err := open.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
			return err
		}
		s := httptest.NewTLSServer(nil)
		defer s.Close()
		if err := writePair(s, filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")); err != nil {
			return err
		}
		if _, err := open.Exec(ctx, "ALTER SYSTEM SET ssl = on"); err != nil {
			return err
		}
		if _, err := open.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
			return err
		}
		keys, err := os.Create(file + ".keys")
		if err != nil {
			return err
		}
		defer keys.Close()
		config, err := pgx.ParseConfig("postgres://shop:" + pgPassword + "@127.0.0.1:5432/postgres?sslmode=require")
		if err != nil {
			return err
		}
		config.TLSConfig.KeyLogWriter = keys
		c, err := pgx.ConnectConfig(ctx, config)
		for err != nil && ctx.Err() == nil { // until it has read its settings again
			c, err = pgx.ConnectConfig(ctx, config)
		}
		if err != nil {
			return err
		}
		var n int
		if err := c.QueryRow(ctx, "SELECT count(*) + $1 FROM generate_series(1, 3000)", 7).Scan(&n); err != nil || n != 3007 {
			return fmt.Errorf("the count is %d: %w", n, err)
		}
		return c.Close(ctx)
	})
}

// writePair writes a test server's certificate and key as a PostgreSQL server wants them.
func writePair(s *httptest.Server, crt, key string) error {
	cert := s.TLS.Certificates[0]
	der, err := pkcs8(cert.PrivateKey)
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Dir(crt))
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return errors.Join(
		os.WriteFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
		os.Chown(crt, int(owner.Uid), int(owner.Gid)), os.Chown(key, int(owner.Uid), int(owner.Gid)),
	)
}

// TestTLSPostgreSQL reads queries behind an SSLRequest.
func TestTLSPostgreSQL(t *testing.T) {
	needsPostgreSQL(t)
	file := filepath.Join(t.TempDir(), "pg.pcapng")
	child(t, "tlspostgresql", file)
	keys, err := os.ReadFile(file + ".keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range dissectWithSecrets(t, withSecrets(t, file, keys)) {
		if c.Protocol == traffic.ProtoPostgreSQL && c.CaptureSource == traffic.SourceTLSKeyLog && strings.Contains(c.PostgreSQL.Query, "generate_series") &&
			c.State == traffic.StateComplete && c.TLS.Version == cryptotls.VersionTLS13 {
			return
		}
	}
	t.Error("the query was not read")
}

// withSecrets writes a capture again, with a key log before the packets.
func withSecrets(t *testing.T, file string, keys []byte) string {
	t.Helper()
	opened := file + ".opened.pcapng"
	f, err := os.Create(opened)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapfile.NewWriter(f, pcapfile.Header{Secrets: keys})
	w.AddInterface(&traffic.Interface{Name: "lo", Link: traffic.LinkRaw})
	packets, _ := readPackets(file, 1<<20)
	for i := range packets {
		if err := w.Write(&packets[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return opened
}

// dissectWithSecrets reads a file with the secrets in it.
func dissectWithSecrets(t *testing.T, file string) []*traffic.Call {
	t.Helper()
	keys, err := pcapfile.Secrets(file)
	if err != nil {
		t.Fatal(err)
	}
	talked := secretTalk{keys: keys}
	packets, _ := readPackets(file, 1<<20)
	got, _ := secretly(&maker{packets: packets}, nil, talked.secrets())
	for _, c := range got.Connections {
		if c.Encrypted+c.Undecoded > 0 {
			t.Errorf("connection %s to %s: %d bytes encrypted, %d not decoded", c.L7, c.Dst.Addr(), c.Encrypted, c.Undecoded)
		}
	}
	return got.Calls
}

func pkcs8(key any) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }
