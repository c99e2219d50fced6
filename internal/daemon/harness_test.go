package daemon

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
)

// running is a daemon of a workspace in which nothing runs, on TCP.
type running struct {
	t          *testing.T
	workspace  string
	url, token string
	client     *control.Client
	stop       func()
}

// serving starts one; prepare, which may be nil, fills the workspace before.
func serving(t *testing.T, prepare func(workspace string)) *running {
	t.Helper()
	runtime, err := os.MkdirTemp("", "run") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	d := &running{t: t, workspace: t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.workspace, "devloop.yaml"), []byte("version: 1\nservices:\n  cart:\n    command: ./cart\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(d.workspace)
	}
	d.start(Options{Workspace: d.workspace, Version: "test", Listen: defaultListen})
	return d
}

// start runs the daemon until the test ends, or stop is called.
func (d *running) start(o Options) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	d.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Errorf("the daemon ended with %v", err)
		}
		ended <- nil
	}
	d.t.Cleanup(d.stop)
	socket, err := control.SocketPath(d.workspace)
	if err != nil {
		d.t.Fatal(err)
	}
	d.client = control.NewClient(socket)
	var st *control.Status
	d.eventually(func() bool { st, err = d.client.Status(ctx); return err == nil })
	d.url = st.URL
	file, err := control.TokenPath(d.workspace)
	if err != nil {
		d.t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	d.token = strings.TrimSpace(string(b))
}

func (d *running) eventually(done func() bool) {
	d.t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(end) {
			d.t.Fatal("it did not happen within 30 s")
		}
		_ = pause(context.Background())
	}
}

// request is one with the token; change may take it away again.
func (d *running) request(verb, path string, body io.Reader, change func(*http.Request)) *http.Request {
	d.t.Helper()
	r, err := http.NewRequest(verb, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	if change != nil {
		change(r)
	}
	return r
}

// do sends a request and reads the whole answer.
func (d *running) do(r *http.Request) (*http.Response, string) {
	d.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp, string(b)
}

// get asks a route and decodes what it answers.
func (d *running) get(path string, into any) {
	d.t.Helper()
	resp, body := d.do(d.request("GET", path, nil, nil))
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("GET %s: %s\n%s", path, resp.Status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		d.t.Fatalf("GET %s: %v\n%s", path, err, body)
	}
}
