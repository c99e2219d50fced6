package kindenv_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/clustertest"
)

// TestCaptureIsChosenStoppedAndStarted changes what is captured in a real cluster, and uses the way into it with and
// without its password.
func TestCaptureIsChosenStoppedAndStarted(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/pair")))
	cfg, err := config.Load(dir)
	must(t, err)
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = c.Name, "capturing"
	e, err := kindenv.New(ctx, kindenv.Options{
		Workspace: dir, Config: cfg, Where: kindenv.Kind, Hash: "0badcafe", Tool: tool, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	must(t, err)
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, false); err != nil {
			t.Error(err)
		}
	})
	if e.NodeStates(ctx) != nil {
		t.Error("agents are there before capture")
	}
	source, _, err := e.Capture(ctx, func(err error) { t.Error(err) })
	must(t, err)
	rec := &recording{}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = source.Run(running, rec.emit) })
	defer func() { stop(); wg.Wait(); source.Close() }()
	must(t, e.StartDependencies(ctx))

	proxy, err := e.Proxy()
	must(t, err)
	ask := func(u *url.URL) error {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(u), DisableKeepAlives: true}}
		res, err := client.Get("http://kube-dns.kube-system:9153/metrics")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	for _, scheme := range []string{"socks5h", "http"} {
		u := *proxy
		u.Scheme = scheme
		if err := ask(&u); err != nil {
			t.Errorf("%s with the password: %v", scheme, err)
		}
	}
	stranger := *proxy
	for _, user := range []*url.Userinfo{nil, url.UserPassword("devloop", "guessed")} {
		if stranger.User = user; ask(&stranger) == nil {
			t.Errorf("the way in is open to %v", user)
		}
	}

	// grows says whether a request of the exercise's pod is captured.
	grows := func() bool {
		t.Helper()
		must(t, source.Flush(ctx))
		before := source.Stats().Received
		must(t, ask(proxy))
		must(t, source.Flush(ctx))
		return source.Stats().Received > before
	}
	door := func(name string) bool { return strings.HasPrefix(name, "capturing/devloop-exercise-") }
	if !grows() {
		t.Error("the exercise is not captured")
	}
	states := e.NodeStates(ctx)
	if len(states) != 1 || states[0].Err != nil || !states[0].Health.OK || states[0].Health.Source != "tap" || states[0].Health.RSS == 0 ||
		states[0].Ring.Newest < states[0].Ring.Oldest || states[0].Ring.Oldest == 0 {
		t.Errorf("nodes %+v", states)
	}

	answer, err := e.SwitchCapture(ctx, false)
	must(t, err)
	if len(answer.Pods) > 0 || grows() {
		t.Errorf("stopped, and captured are %q", answer.Pods)
	}
	answer, err = e.SwitchCapture(ctx, true)
	must(t, err)
	if !slices.ContainsFunc(answer.Pods, door) || !grows() {
		t.Errorf("started again, and captured are %q", answer.Pods)
	}

	// The exercise is left out, and a warning says so.
	answer, err = e.Configure(ctx, kindenv.Targets{PodRegex: "^nobody$"})
	must(t, err)
	if len(answer.Pods) > 0 || grows() || !slices.ContainsFunc(e.Warnings(), func(w string) bool { return strings.Contains(w, "devloop-exercise") }) {
		t.Errorf("captured are %q, warnings %q", answer.Pods, e.Warnings())
	}
	answer, err = e.Configure(ctx, kindenv.Targets{Namespaces: []string{kindenv.AllNamespaces}})
	must(t, err)
	if !slices.ContainsFunc(answer.Pods, door) || slices.ContainsFunc(answer.Pods, func(p string) bool { return strings.HasPrefix(p, "kube-system/") }) {
		t.Errorf("of all namespaces captured are %q", answer.Pods)
	}
	answer, err = e.Configure(ctx, kindenv.Targets{})
	must(t, err)
	if !slices.Equal(answer.Namespaces, []string{"capturing"}) || !grows() || len(e.Warnings()) > 0 {
		t.Errorf("back to the workspace's: %+v, warnings %q", answer, e.Warnings())
	}
	if _, err := e.Configure(ctx, kindenv.Targets{PodRegex: "("}); err == nil {
		t.Error("a bad expression is taken")
	}
}
