package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// The bounds of the dashboard.
const (
	manyCalls    = 100_000
	paintBound   = 500.0     // ms to the first paint
	bundleBound  = 150_000.0 // bytes, packed
	frameBound   = 50.0      // ms that 95 of 100 frames take at most while a list of many calls is scrolled
	elementBound = 100       // rows in the page, however many calls there are
)

// documented are the views that docs/images shows, and its pictures of them.
var documented = map[string]string{"map-light": "dashboard-map", "call-tree-dark": "dashboard-call", "check-dark": "dashboard-check"}

// seen is one line of testdata/dashboard.mjs: something that was looked at, or a figure.
type seen struct {
	Step   string  `json:"step"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
}

// TestDashboard: a browser walks through the dashboard of the shop, clean and broken: all views without a violation of axe's rules in dark and
// light, with the keys alone, with nothing that its policy forbids, no secret in an address or a log, and 100,000 calls in one list.
func TestDashboard(t *testing.T) {
	figures := map[string]float64{}
	for _, s := range walkDashboard(t, shop(t)) {
		switch {
		case s.Figure != "":
			figures[s.Figure] = s.Value
			t.Logf("%s: %.1f", s.Figure, s.Value)
		case s.OK:
			t.Logf("ok: %s %s", s.Step, s.Detail)
		default:
			t.Errorf("%s: %s", s.Step, s.Detail)
		}
	}
	for name, most := range map[string]float64{"bundle bytes gzip": bundleBound, "rows in the page": elementBound} {
		if v, ok := figures[name]; !ok || v > most {
			t.Errorf("%s is %.1f (told: %v), want at most %.1f", name, v, ok, most)
		}
	}
}

// BenchmarkDashboard tells the first paint, the size of the bundle and the frames of a scrolled list as ratios to their bounds.
func BenchmarkDashboard(b *testing.B) {
	w := shop(b)
	for b.Loop() {
		for _, s := range walkDashboard(b, w) {
			switch s.Figure {
			case "first paint ms":
				b.ReportMetric(s.Value, "paint-ms")
				b.ReportMetric(s.Value/paintBound, "paint/500ms")
			case "bundle bytes gzip":
				b.ReportMetric(s.Value/bundleBound, "bundle/150kB")
			case "frame p95 ms":
				b.ReportMetric(s.Value/frameBound, "frame-p95/50ms")
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

// walkDashboard runs the shop clean and broken, and has the browser walk through its dashboard.
func walkDashboard(t testing.TB, w *workspace) []seen {
	t.Helper()
	chromium, packages := testenv.NeedsBrowser(t)
	manyInStore(t, w)
	if it := w.run(); it.Verdict != traffic.Pass {
		t.Fatalf("the clean shop: %s %+v\n%s", it.Verdict, it.Failure, explain(not(it, traffic.Pass)))
	}
	w.write("faults.env", "FAULTS=retry-storm,payment-slow,redis-error,grpc-unavailable\n")
	if it := w.run(); it.Verdict != traffic.Fail {
		t.Fatalf("the broken shop: %s %+v", it.Verdict, it.Failure)
	}
	script, err := filepath.Abs("testdata/dashboard.mjs")
	if err != nil {
		t.Fatal(err)
	}
	code, address, stderr := w.devloop("dashboard", "--print")
	if code != 0 {
		t.Fatalf("devloop dashboard --print: exit %d\n%s", code, stderr)
	}
	_, token, _ := w.devloop("daemon", "token")
	pictures, only := os.Getenv("DEVLOOP_PICTURES"), "" // all of them, for people
	if pictures == "" {
		pictures, only = t.TempDir(), strings.Join(slices.Collect(maps.Keys(documented)), ",")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	walk := exec.CommandContext(ctx, "node", script)
	walk.Dir = w.dir
	walk.Env = append(os.Environ(), "ADDRESS="+strings.TrimSpace(address), "TOKEN="+strings.TrimSpace(token), "CHROMIUM="+chromium, "PACKAGES="+packages,
		"DEVLOOP="+program(t), "PICTURES="+pictures, "ONLY="+only, "PROFILE="+t.TempDir())
	walk.Stderr = os.Stderr
	out, err := walk.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := walk.Start(); err != nil {
		t.Fatal(err)
	}
	var all []seen
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s seen
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Errorf("the walk says %q: %v", lines.Text(), err)
			continue
		}
		all = append(all, s)
	}
	if err := walk.Wait(); err != nil {
		t.Errorf("the walk through the dashboard: %v", err)
	} else {
		for view, name := range documented {
			looksLike(t, decode(t, filepath.Join(pictures, "dashboard-"+view+".png")), name)
		}
	}
	_, secret, _ := strings.Cut(strings.TrimSpace(address), "#code=")
	log, err := os.ReadFile(filepath.Join(w.dir, ".devloop", "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{"code": secret, "token": strings.TrimSpace(token)} {
		if s == "" || strings.Contains(string(log), s) {
			t.Errorf("the daemon's log has the dashboard's %s, or there is none", name)
		}
	}
	return all
}

// hostile is text from the network that would run in a page that took it for HTML.
const hostile = `<img src=x onerror="window.taken=1"><script>window.taken=1</script>`

// manyInStore puts a snapshot with many calls into the workspace's store, among them some whose every text is hostile.
func manyInStore(t testing.TB, w *workspace) {
	t.Helper()
	s, err := store.Open(filepath.Join(w.dir, store.Folder), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := capture.NewRecorder(s.RingDir(), capture.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer recorder.Close()
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	segment, err := recorder.Rotate(capture.Stats{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Seal(t.Context(), store.SealRequest{ID: "many", Segments: []capture.Segment{segment}, WindowStart: begin, WindowEnd: begin + manyCalls*1e6, Source: "file"})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if err := sn.WriteDissectionAs(t.Context(), store.DefaultDissection, &traffic.Dissection{Calls: many(begin)}); err != nil {
		t.Fatal(err)
	}
}

func many(begin int64) []*traffic.Call {
	r := rand.New(rand.NewPCG(1, 2))
	end := func(i int) traffic.Endpoint {
		return traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 8080, Workload: traffic.Workload{Namespace: "shop", Kind: "service", Service: fmt.Sprintf("service-%02d", i)}}
	}
	calls := make([]*traffic.Call, manyCalls)
	for i := range calls {
		c := &traffic.Call{ID: fmt.Sprintf("n/%d/%d", i/10, i%10), Protocol: traffic.ProtoHTTP, ConnID: uint64(i/10 + 1), Index: i % 10, State: traffic.StateComplete, Point: "client",
			Src: end(r.IntN(20)), Dst: end(20 + r.IntN(20)), Start: begin + int64(i)*1e6, Method: "GET", Path: fmt.Sprintf("/api/v1/thing/%d", r.IntN(5000)), Status: 200, HTTP: &traffic.HTTP{Version: "1.1", Host: "shop"}}
		if r.IntN(50) == 0 {
			c.Status = 503
		}
		if i%1000 == 999 {
			c.Path, c.Dst.Service, c.HTTP.ResponseBody = "/"+hostile, hostile, []byte(`{"comment": "`+hostile+`"}`)
			c.HTTP.ResponseHeaders = []traffic.Header{{Name: "X-Note", Value: hostile}, {Name: hostile, Value: "1"}}
		}
		c.RequestEnd = c.Start + 1000
		c.ResponseStart = c.RequestEnd + int64(r.IntN(50_000_000))
		c.End = c.ResponseStart + 1000
		calls[i] = c
	}
	return calls
}
