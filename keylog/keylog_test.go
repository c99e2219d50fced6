package keylog_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/keylog"
)

// TestWriter speaks TLS with itself.
func TestWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.log")
	t.Setenv(keylog.Variable, path)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{KeyLogWriter: keylog.Writer()}
	s.StartTLS()
	defer s.Close()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), "CLIENT_TRAFFIC_SECRET_0 ") {
		t.Fatalf("the key log is %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}
