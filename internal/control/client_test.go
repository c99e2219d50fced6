package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// daemon answers every request on a unix socket with some lines.
func daemon(t *testing.T, lines ...string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v1/") {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
		for _, line := range lines {
			_, _ = w.Write([]byte(line + "\n"))
		}
	})}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { h.Close() })
	return NewClient(socket)
}

func TestEventsComeBeforeTheResult(t *testing.T) {
	c := daemon(t, `{"message":"one"}`, `{"iteration":{"id":"i1"}}`, `{"result":{"id":"i1","verdict":"pass"}}`)
	var seen []string
	it, err := c.Run(t.Context(), RunRequest{}, func(e Event) {
		seen = append(seen, e.Message)
		if e.Iteration != nil {
			seen = append(seen, e.Iteration.ID)
		}
	})
	if err != nil || it.Verdict != traffic.Pass || strings.Join(seen, ",") != "one,,i1" {
		t.Errorf("%+v, %v, events %q", it, err, seen)
	}
}

func TestAFailureIsAnErrorWithItsHint(t *testing.T) {
	_, err := daemon(t, `{"failed":{"error":"no such check","hint":"devloop status","exit":2}}`).Verdict(t.Context(), IterationRequest{})
	var known *Error
	if !errors.As(err, &known) || known.Exit != 2 || known.Hint != "devloop status" || known.Error() != "no such check" {
		t.Errorf("%#v", err)
	}
}

func TestADaemonThatDiesIsNoAnswer(t *testing.T) {
	if _, err := daemon(t, `{"message":"one"}`).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "ended in the middle of status") {
		t.Errorf("%v", err)
	}
	if _, err := NewClient(filepath.Join(t.TempDir(), "none")).Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v, want ErrNoDaemon", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := daemon(t).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSocketsAreOfTheUserAndTheWorkspace(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	a, err := SocketPath("/one")
	if err != nil {
		t.Fatal(err)
	}
	b, err := SocketPath("/two")
	if err != nil || a == b || filepath.Base(filepath.Dir(a)) != "devloop" {
		t.Errorf("%s and %s, %v", a, b, err)
	}
}

func TestStatusHasOneJSONForm(t *testing.T) {
	b, err := json.Marshal(Status{Services: []ServiceStatus{}, Exercises: []string{}, Checks: []string{}})
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v: lists are never null", b, err)
	}
}
