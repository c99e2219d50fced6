package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	theirJUnit "github.com/joshdk/go-junit"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/html"

	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite golden files")

// hostile is text that a service could have sent.
const hostile = "</td><script>alert(1)</script> | `x` *y* @team\n::error::not ours\r\x1b[31m %0A ]]> 世界"

func sample() *Report {
	return &Report{
		Version: "1.2.3", Workspace: "shop",
		Iteration: &traffic.Iteration{
			ID: "i12", Revision: "r7", Verdict: traffic.Fail, Calls: 812, Source: "tap", Started: 1_700_000_000e9, Ended: 1_700_000_002_500_000_000, ExitCode: 1, Snapshot: "i12",
			Warnings: []string{"the wire was still busy after 2s"},
			Ledger:   []traffic.PhaseTime{{Phase: "build", NS: 800e6, Detail: "payment"}, {Phase: "judge", NS: 3e6}},
			Account:  &traffic.Account{Packets: 9000, Bytes: 1 << 20},
			Checks: []traffic.CheckResult{
				{Name: "checkout never answers 5xx", File: "checks/checkout.netcheck.yaml", Line: 4, On: "http", Expect: "none(status_code >= 500)", Severity: "error",
					Verdict: traffic.Fail, Reason: "3 of 300 calls: " + hostile, N: 300, Unit: "calls", EvidenceTotal: 3,
					Terms:    []traffic.Term{{Text: "none(status_code >= 500)", Value: "3", N: 300, Exact: true}},
					Evidence: []traffic.Evidence{{Call: "local/1/0", Connection: 1, Packets: traffic.PacketRange{First: 10, Last: 12}, Summary: "frontend → checkout " + hostile}}},
				{Name: "fast", File: "checks/checkout.netcheck.yaml", Line: 9, On: "http", Expect: `p95(latency) < duration("120ms")`, Severity: "error",
					Verdict: traffic.Inconclusive, Reason: "too few", N: 12, Unit: "calls", NeedMore: 47, Terms: []traffic.Term{{Text: "p95(latency)", Value: "96 ms", Low: "80 ms", High: "140 ms", N: 12}}},
				{Name: "fast", Group: "payment", File: "checks/b.netcheck.yaml", Line: 2, On: "http", Expect: "count() > 0", Severity: "warning", Verdict: traffic.NoData, Reason: "nothing matched"},
				{Name: "kept", File: "checks/b.netcheck.yaml", Line: 7, On: "tcp_conn", Expect: "reuse_ratio() >= 0.9", Severity: "error", Verdict: traffic.Pass, Reason: "0.97", N: 40, Unit: "connections",
					Terms: []traffic.Term{{Text: "reuse_ratio()", Value: "0.97", Low: "0.97", High: "0.97", N: 40, Exact: true}}},
				{Name: "later", File: "checks/b.netcheck.yaml", Line: 12, Severity: "error", Verdict: traffic.Skipped, Reason: "not yet"},
				{Name: "builtin/keepalive-lost", Builtin: true, Severity: "error", Verdict: traffic.Error, Reason: "cannot be evaluated"},
				{Name: "builtin/retry-storm", Builtin: true, Severity: "error", Verdict: traffic.Skipped},
			},
		},
		Map: &query.ServiceMap{
			Nodes: []query.MapNode{{Name: "cart", Kind: "service"}, {Name: "frontend", Kind: "service", Protocols: []string{"http"}}, {Name: "stripe.com", Kind: "external"}},
			Edges: []query.MapEdge{{Src: "cart", Dst: "frontend", Stats: query.Stats{Calls: 300, Errors: 3, ErrorRate: 0.01, P50: 4, P99: 90}}, {Src: "frontend", Dst: "stripe.com", Stats: query.Stats{Calls: 2}}, {Src: "frontend", Dst: "cart"}},
		},
		Endpoints: []query.Stats{{Group: "frontend GET /" + hostile, Calls: 300, Errors: 3, ErrorRate: 0.01, P50: 4, P90: 20, P99: 90}},
		Trees: []*traffic.TraceNode{{Call: "local/1/0", Src: "cart", Service: "frontend", Method: "GET", Path: hostile, Status: 503, State: traffic.StateComplete, Latency: 90, Critical: true,
			Children: []*traffic.TraceNode{{Src: "frontend", Service: "payment", Method: "POST", Path: "/charge", Status: 200, State: traffic.StateComplete, Start: 5, Latency: 80, Depth: 1}}}},
		Evidence: map[string][]traffic.FullCall{"checkout never answers 5xx": {{ReqHeaders: map[string]string{"x": hostile}, RespBody: hostile}}},
	}
}

func write(t *testing.T, name string, r *Report) []byte {
	t.Helper()
	f, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGolden compares every form with testdata.
func TestGolden(t *testing.T) {
	for _, f := range Formats() {
		t.Run(f.Name, func(t *testing.T) {
			got := write(t, f.Name, sample())
			golden := filepath.Join("testdata", "fail."+f.Name)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got; -update rewrites it):\n%s", diff)
			}
		})
	}
	if _, err := Find("junt"); err == nil || !strings.Contains(err.Error(), "junit") {
		t.Errorf("an unknown form: %v", err)
	}
}

// TestJUnit is read by somebody else's reader.
func TestJUnit(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		r := sample()
		r.Allowed = allowed
		suites, err := theirJUnit.Ingest(write(t, "junit", r))
		if err != nil {
			t.Fatal(err)
		}
		count := map[theirJUnit.Status]int{}
		for _, s := range suites {
			for _, test := range s.Tests {
				count[test.Status]++
			}
		}
		// Fail and inconclusive, and the built-in error, gate; nodata of a warning and what is skipped do not.
		want := map[theirJUnit.Status]int{theirJUnit.StatusFailed: 2, theirJUnit.StatusError: 1, theirJUnit.StatusSkipped: 2, theirJUnit.StatusPassed: 1}
		if allowed {
			want = map[theirJUnit.Status]int{theirJUnit.StatusFailed: 1, theirJUnit.StatusSkipped: 4, theirJUnit.StatusPassed: 1}
		}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("allowed %v (-want +got):\n%s", allowed, diff)
		}
	}
}

// TestSARIF validates with OASIS's schema.
func TestSARIF(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/sarif-2.1.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Report{"fail": sample(), "failure": broken(), "nothing": {Iteration: &traffic.Iteration{ID: "i1"}}} {
		b := write(t, "sarif", r)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var raw struct {
			Runs []struct {
				Results []struct{ Kind, Level string }
			}
		}
		if err := json.Unmarshal(b, &raw); err != nil {
			t.Fatal(err)
		}
		for _, result := range raw.Runs[0].Results {
			if result.Kind != "fail" && result.Level != "none" {
				t.Errorf("%s: a result of kind %s has level %s", name, result.Kind, result.Level)
			}
		}
	}
}

func broken() *Report {
	return &Report{Iteration: &traffic.Iteration{ID: "i13", Phase: "build", ExitCode: 3, Failure: &traffic.Failure{Phase: "build", Service: "payment", What: "payment: undefined: x", Output: hostile, Hint: "mend it"}}}
}

// TestFailure looks for the failure of an iteration without a verdict in every form: none of them may look like a pass.
func TestFailure(t *testing.T) {
	for _, f := range Formats() {
		if got := string(write(t, f.Name, broken())); !strings.Contains(got, "undefined: x") {
			t.Errorf("%s does not tell of the failure:\n%s", f.Name, got)
		}
	}
	suites, err := theirJUnit.Ingest(write(t, "junit", broken()))
	if err != nil || suites[0].Totals.Error != 1 {
		t.Errorf("JUnit: %+v, %v", suites, err)
	}
}

// TestGitHubIsNotFooled: what a service sends cannot make commands of its own.
func TestGitHubIsNotFooled(t *testing.T) {
	for line := range strings.Lines(string(write(t, "github", sample()))) {
		if !strings.HasPrefix(line, "::error file=checks/") && !strings.HasPrefix(line, "::warning file=checks/") && !strings.HasPrefix(line, "::error title=") && !strings.HasPrefix(line, "::warning title=") {
			t.Errorf("a line of its own: %q", line)
		}
	}
}

// TestPageIsWhole parses the HTML and looks for elements that captured text must not make.
func TestPageIsWhole(t *testing.T) {
	doc, err := html.Parse(bytes.NewReader(write(t, "html", sample())))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			seen[n.Data]++
			for _, a := range n.Attr {
				if a.Key == "src" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
	}
	if seen["script"] > 0 || seen["iframe"] > 0 {
		t.Errorf("elements: %v", seen)
	}
	if seen["details"] != 6 || seen["rect"] != 3 || seen["line"] != 3 {
		t.Errorf("elements: %v", seen)
	}
}
