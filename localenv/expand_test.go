package localenv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// loopbackPeers is a shop whose ports were allocated.
func loopbackPeers() map[string]peer {
	return map[string]peer{
		"payment":      {name: "payment", declared: map[string]int{"http": 8080, "metrics": 9090}, reach: map[string]string{"http": "127.0.0.1:40001", "metrics": "127.0.0.1:40002"}},
		"gateway":      {name: "gateway", hosts: []string{"api.payments.example"}, declared: map[string]int{"http": 8080}, reach: map[string]string{"http": "127.0.0.1:40003"}},
		"frontend":     {name: "frontend", declared: map[string]int{"http": 80}, reach: map[string]string{"http": "127.0.0.1:40004"}},
		"catalogue-db": {name: "catalogue-db", declared: map[string]int{"sql": 5432}, reach: map[string]string{"sql": "127.0.0.1:40005"}},
	}
}

func TestRewriteHosts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ value, want string }{
		{"http://gateway:8080", "http://127.0.0.1:40003"},
		{"http://gateway:8080/v1?u=http://frontend/x", "http://127.0.0.1:40003/v1?u=http://127.0.0.1:40004/x"},
		{"https://api.payments.example:8080/charge", "https://127.0.0.1:40003/charge"},
		{"gateway.shop.svc.cluster.local:8080", "127.0.0.1:40003"},
		{"postgres://u:p@catalogue-db/shop?sslmode=disable", "postgres://u:p@127.0.0.1:40005/shop?sslmode=disable"},
		{"postgres://u:p@catalogue-db:5432/shop", "postgres://u:p@127.0.0.1:40005/shop"},
		{"gateway:8080,payment:9090", "127.0.0.1:40003,127.0.0.1:40002"},
		{":8080", "127.0.0.1:40001"},
		{"0.0.0.0:9090", "127.0.0.1:40002"},
		{"gateway:9090", "gateway:9090"},         // no such port
		{"mygateway:8080", "mygateway:8080"},     // another name
		{"gateway.com:8080", "gateway.com:8080"}, // a name of the world
		{"12:30:45", "12:30:45"},
		{"http://gateway", "http://gateway"}, // it has no port 80
		{":7777", ":7777"},
	} {
		if got := rewriteHosts(tc.value, "payment", loopbackPeers()); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.value, got, tc.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.env"), []byte("# comment\n\nexport A=1\nB=\"two words\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := values("payment", "/data", loopbackPeers())
	got, err := environment([]string{"PATH=/bin"}, dir, "x.env", map[string]string{
		"DSN": "host={{.Host.catalogue_db}} port={{.Port.catalogue_db.sql}}", "DIR": "{{.Data}}", "OWN": "{{.Port.http}}",
		"X": "${LOCALENV_SURELY_UNSET:-fallback}", "P": "pa$$word"}, vars)
	want := []string{"PATH=/bin", "A=1", "B=two words", "DIR=/data", "DSN=host=127.0.0.1 port=40005", "OWN=40001", "P=pa$$word", "X=fallback"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if _, err := environment(nil, dir, "", map[string]string{"X": "{{.Host.nobody}}"}, vars); err == nil || !strings.Contains(err.Error(), "env X") {
		t.Errorf("an unknown peer: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.env"), []byte("A=1\nwhat is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := environment(nil, dir, "bad.env", nil, vars); err == nil || !strings.Contains(err.Error(), "bad.env") {
		t.Errorf("a bad line: %v", err)
	}
}

func TestBaseEnvironmentKeepsPeersOffTheProxy(t *testing.T) {
	t.Parallel()
	got := baseEnvironment([]string{"A=1", "LISTEN_FDS=2", "HTTP_PROXY=http://proxy:3128", "NO_PROXY=corp"}, []string{"payment", "10.77.1.0/24"})
	want := []string{"A=1", "HTTP_PROXY=http://proxy:3128", "NO_PROXY=corp", "NO_PROXY=corp,payment,10.77.1.0/24", "no_proxy=payment,10.77.1.0/24"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.1.log")
	f, err := createLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString(strings.Repeat("0123456789\n", 100) + "last\n")
	if err := boundLog(path, 500); err != nil {
		t.Fatal(err)
	}
	f.WriteString("after\n")
	text, _ := os.ReadFile(path)
	old, _ := os.ReadFile(path + ".1")
	if !strings.HasPrefix(string(text), "[devloop: ") || !strings.HasSuffix(string(text), "\nafter\n") || len(old) != 500 || !strings.HasSuffix(string(old), "last\n") {
		t.Errorf("log %q, moved aside %d bytes", text, len(old))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	if tail := logTail(path); !strings.HasSuffix(tail, "\nafter") {
		t.Errorf("tail %q", tail)
	}
}
