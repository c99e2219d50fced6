//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// TestDoctorChoosesTheTap: where everything is there, nothing less is good enough.
func TestDoctorChoosesTheTap(t *testing.T) {
	w := shop(t)
	if code, stdout, stderr := w.devloop("doctor", "--require", "tap"); code != 0 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// TestSnapshotOpensInTshark: an exported snapshot shows names and directions in Wireshark, its checksums hold after
// masking, and its HTTP requests are those of `devloop calls`.
func TestSnapshotOpensInTshark(t *testing.T) {
	tshark := testenv.NeedsProgram(t, "tshark")
	w := shop(t)
	it := w.run()
	file := filepath.Join(t.TempDir(), "snapshot.pcapng")
	if code, _, stderr := w.devloop("snapshot", "export", it.Snapshot, file); code != 0 {
		t.Fatalf("export: exit %d\n%s", code, stderr)
	}
	read := func(args ...string) []string {
		t.Helper()
		out, err := exec.Command(tshark, append([]string{"-r", file}, args...)...).Output()
		if err != nil {
			t.Fatalf("tshark %v: %v", args, err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	interfaces := read("-T", "fields", "-e", "frame.interface_name", "-e", "frame.p2p_dir")
	slices.Sort(interfaces)
	seen := strings.Join(slices.Compact(interfaces), "\n")
	for _, want := range []string{"local/frontend\t0", "local/frontend\t1", "local/catalogue\t", "local/exercise\t"} {
		if !strings.Contains(seen, want) && !strings.Contains(seen, strings.TrimRight(want, "01\t")) {
			t.Errorf("tshark does not show %q:\n%s", want, seen)
		}
	}
	names := strings.Join(read("-N", "n", "-T", "fields", "-e", "ip.dst_host"), "\n")
	if !strings.Contains(names, "catalogue") {
		t.Error("tshark resolves no service name from the file")
	}
	// The same requests: each is in the file once or twice, at its sender and, where the peer is not tapped, at its
	// receiver; the sender's copy is the one that carries payload.
	requests := map[string]int{}
	for _, line := range read("-Y", "http.request && frame.interface_name != \"\"", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri") {
		requests[line]++
	}
	calls := map[string]int{}
	// Without the keys, which only a raw export has, tshark sees no calls in TLS; gRPC is its http2.
	for _, c := range w.calls(it, `http && !grpc && capture_source != "tls_keylog"`) {
		path := c.Path
		if c.Query != "" {
			path += "?" + c.Query
		}
		calls[c.Method+"\t"+path]++
	}
	if diff := cmp.Diff(requests, calls); diff != "" {
		t.Errorf("tshark and devloop calls differ (-tshark +devloop):\n%s", diff)
	}
}

// calls are all calls of an iteration that a filter selects, page by page.
func (w *workspace) calls(it *traffic.Iteration, kfl string) []traffic.FullCall {
	w.t.Helper()
	var all []traffic.FullCall
	cursor := ""
	for {
		code, stdout, stderr := w.devloop("calls", "--iteration", it.ID, "--full", "--limit", "1000", "--cursor", cursor, "-o", "json", kfl)
		var page struct {
			Calls  []traffic.FullCall
			Cursor string
		}
		if err := json.Unmarshal([]byte(stdout), &page); err != nil || code != 0 {
			w.t.Fatalf("devloop calls: exit %d: %v\n%s", code, err, stderr)
		}
		all = append(all, page.Calls...)
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
}

// session runs a session in this process, for tests that put something between capture and recorder.
func session(t *testing.T, w *workspace, wrap devloop.WrapSource) *devloop.Session {
	t.Helper()
	dir, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, devloop.Options{Workspace: dir, Version: "test", Log: slog.New(slog.DiscardHandler), Wrap: wrap})
}

// start runs a session in this process until the test's end.
func start(t *testing.T, o devloop.Options) *devloop.Session {
	t.Helper()
	s, err := devloop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestIterationAloneEqualsAll: dissecting the window of iteration n alone, from its checkpoint, gives the very rows that
// dissecting everything from the start does. Services keep their connections over iterations, so the state matters.
func TestIterationAloneEqualsAll(t *testing.T) {
	w := shop(t)
	var last *traffic.Iteration
	for range 3 {
		last = w.run()
		if last.Verdict != traffic.Pass {
			t.Fatalf("%s\n%s", last.Verdict, explain(not(last, traffic.Pass)))
		}
	}
	st, err := store.Open(filepath.Join(w.dir, ".devloop"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := st.Snapshot(last.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	alone, err := sn.Dissect(t.Context(), devloop.DissectOptions())
	if err != nil {
		t.Fatal(err)
	}
	all := continuous(t, st, sn)
	kept := 0
	for _, c := range alone.Connections {
		if c.Start < sn.Window.Start && c.WindowCalls > 0 {
			kept++
		}
	}
	if kept == 0 {
		t.Error("no connection was kept over iterations: the test shows nothing")
	}
	if diff := cmp.Diff(rowIDs(all), rowIDs(alone)); diff != "" {
		t.Errorf("rows differ (-dissected from the start, +alone):\n%s", diff)
	}
	byID := map[string]*traffic.Call{}
	for _, c := range all.Calls {
		c.Revision = last.Revision // is of the window, not of the bytes
		byID[c.ID] = c
	}
	for _, c := range alone.Calls {
		if diff := cmp.Diff(byID[c.ID], c, cmpopts.EquateComparable(netip.Addr{})); diff != "" && byID[c.ID] != nil {
			t.Fatalf("call %s differs (-from the start, +alone):\n%s", c.ID, diff)
		}
	}
}

func rowIDs(d *traffic.Dissection) []string {
	var ids []string
	for _, c := range d.Calls {
		ids = append(ids, fmt.Sprintf("%s %s %s %d %s", c.ID, c.Method, c.Path, c.Status, c.State))
	}
	for _, c := range d.Connections {
		ids = append(ids, "connection "+strconv.FormatUint(c.ID, 10)+fmt.Sprintf(" %d %d %d", c.WindowCalls, c.ClientBytes, c.ServerBytes))
	}
	slices.Sort(ids)
	return ids
}

// TestLostPacketsMakeNegativeChecksInconclusive loses packets of one edge on purpose: a check that says "never" of that
// edge cannot pass any more, and one of other connections still does.
func TestLostPacketsMakeNegativeChecksInconclusive(t *testing.T) {
	w := shop(t)
	var toPayment int
	s := session(t, w, func(source capture.Source) capture.Source {
		return capture.NewLossy(source, func(p *traffic.Packet) bool {
			// Every twentieth packet with payload that payment gets from checkout or sends back, at payment.
			f, ok := capture.FlowOf(p)
			if !ok || source.Interfaces()[p.Interface].Name != "local/payment" || f.Src.Port() != 8080 && f.Dst.Port() != 8080 || p.Length < 100 {
				return false
			}
			toPayment++
			return toPayment%20 == 0
		})
	})
	it, err := s.Iterate(t.Context(), control.RunRequest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if it.Failure != nil {
		t.Fatalf("%+v", it.Failure)
	}
	if it.Account.Dropped == 0 {
		t.Fatal("nothing was lost: the test shows nothing")
	}
	verdicts := map[string]traffic.CheckResult{}
	for _, c := range it.Checks {
		verdicts[c.Name] = c
	}
	for name, want := range map[string]traffic.Verdict{
		"payment hangs up on nobody":         traffic.Inconclusive,
		"the third party never sees a token": traffic.Pass,
		"goods have a price":                 traffic.Pass,
	} {
		if c := verdicts[name]; c.Verdict != want {
			t.Errorf("%s is %s, want %s: %s %s", name, c.Verdict, want, c.Reason, c.Loss)
		}
	}
	if it.ExitCode != 4 {
		t.Errorf("exit code %d, want 4: nothing failed, something is undecided\n%s", it.ExitCode, explain(not(it, traffic.Pass)))
	}
}

// TestAFPacketJudgesTheSame: where eBPF is not to be had, AF_PACKET in the services' namespaces sees the same traffic.
func TestAFPacketJudgesTheSame(t *testing.T) {
	w := shop(t)
	dir, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, devloop.Options{Workspace: dir, Version: "test", Log: slog.New(slog.DiscardHandler), Source: "afpacket"})
	for range 2 { // the second time services are not started anew, and connections are kept
		it, err := s.Iterate(t.Context(), control.RunRequest{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if it.Source != "afpacket" || it.Verdict != traffic.Pass {
			t.Errorf("%s by %s, failure %+v\n%s", it.Verdict, it.Source, it.Failure, explain(not(it, traffic.Pass)))
		}
	}
}
