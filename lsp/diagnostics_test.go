package lsp

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// A mark speaks of what there is: where the check was changed, the daemon has ended or newer code serves, it says so and blames nothing.
func TestMarksGrowStale(t *testing.T) {
	for name, x := range map[string]struct {
		change   func(f *facts, text string) string
		verdict  traffic.Verdict
		severity int
		want     string // at its beginning
	}{
		"as it was judged": {func(_ *facts, text string) string { return text }, traffic.Fail, SeverityError, "fail in i3"},
		"laid out otherwise": {func(_ *facts, text string) string {
			return strings.Replace(text, "status_code >=", "status_code  >=", 1)
		}, traffic.Fail, SeverityError, "fail in i3"},
		"not enough data":       {func(_ *facts, text string) string { return text }, traffic.Inconclusive, SeverityWarning, "inconclusive in i3"},
		"nothing matched":       {func(_ *facts, text string) string { return text }, traffic.NoData, SeverityWarning, "nodata in i3"},
		"changed":               {func(_ *facts, text string) string { return strings.Replace(text, "500", "400", 1) }, traffic.Fail, SeverityInformation, "stale, the check was changed since"},
		"the daemon has ended":  {func(f *facts, text string) string { f.connected = false; return text }, traffic.Fail, SeverityInformation, "stale, the daemon has ended since"},
		"newer code serves":     {func(f *facts, text string) string { f.status.Revision = "r2"; return text }, traffic.Fail, SeverityInformation, "stale, r2 serves now and this is of r1"},
		"what passes is silent": {func(_ *facts, text string) string { return text }, traffic.Pass, 0, ""},
	} {
		it := &traffic.Iteration{ID: "i3", Revision: "r1", Verdict: x.verdict, Checks: []traffic.CheckResult{
			{Name: "a", File: "a.netcheck.yaml", On: "http", Expect: "none(status_code >= 500)", Verdict: x.verdict, Reason: "because"}}}
		s := workspace(t, map[string]string{"devloop.yaml": "version: 1\n"}, it)
		text := x.change(&s.live.facts, oneCheck)
		got := s.verdicts(newDocument(uriOf(filepath.Join(s.root(), "a.netcheck.yaml")), 1, text, false))
		switch {
		case x.want == "" && len(got) == 0:
		case len(got) != 1 || got[0].Severity != x.severity || !strings.HasPrefix(got[0].Message, x.want):
			t.Errorf("%s: %+v, want %d %q", name, got, x.severity, x.want)
		}
	}
}

// An edit whose range stands the wrong way round takes nothing away and doubles nothing.
func TestEditBackwards(t *testing.T) {
	d := newDocument("file:///a", 1, "one\ntwo\n", false)
	d = d.changed(2, []ContentChange{{Range: &Range{Position{1, 2}, Position{0, 1}}, Text: "X"}})
	if d.text != "one\ntwXo\n" {
		t.Errorf("%q", d.text)
	}
}
