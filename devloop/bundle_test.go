package devloop

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/store/bundle"
	"github.com/devloop-io/devloop/traffic"
)

// A bundle is judged again by what is in it: what differs is told, what needs the runs before is not tried, and names that lead out of
// a workspace, or stand for nothing, are refused.
func TestOpenBundle(t *testing.T) {
	it := &traffic.Iteration{ID: "i1", Verdict: traffic.Pass, Checks: []traffic.CheckResult{
		{Name: "quick", Verdict: traffic.Pass}, {Name: "sound", Verdict: traffic.Pass}, {Name: "gone", Verdict: traffic.Pass},
		{Name: "builtin/new-egress", Builtin: true, Verdict: traffic.Skipped}, {Name: "builtin/secret-in-url", Builtin: true, Verdict: traffic.Pass},
	}}
	rows := &traffic.Dissection{Calls: []*traffic.Call{{ID: "c", Protocol: traffic.ProtoHTTP, Status: 503, State: traffic.StateComplete, HTTP: &traffic.HTTP{}}}}
	checks := []byte("checks:\n  - {name: quick, on: http, expect: max(latency) < duration(\"1s\")}\n  - {name: sound, on: http, expect: none(status_code >= 500)}\n")
	open := func(w bundle.Window, contracts ...string) (*Opened, error) {
		t.Helper()
		members := []bundle.Member{bundle.Bytes(bundle.CheckName(0), checks)}
		for name, v := range map[string]any{bundle.VerdictName: it, bundle.RowsName: rows, bundle.WindowName: w} {
			m, err := bundle.JSON(name, v)
			if err != nil {
				t.Fatal(err)
			}
			members = append(members, m)
		}
		for i, text := range contracts {
			members = append(members, bundle.Bytes(bundle.ContractName(i), []byte(text)))
		}
		var b bytes.Buffer
		if err := bundle.Write(&b, "devloop test", members); err != nil {
			t.Fatal(err)
		}
		opened, err := bundle.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		return OpenBundle(opened)
	}
	o, err := open(bundle.Window{Files: []string{"a.netcheck.yaml"}, Contracts: []string{"api/a.yaml"}}, "{}")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sound was pass and is fail"}, o.Differs); diff != "" || o.Verdict != traffic.Fail || o.ExitCode == 0 {
		t.Errorf("%s, exit %d, (-want +got):\n%s", o.Verdict, o.ExitCode, diff)
	}
	if diff := cmp.Diff([]string{"gone", "builtin/new-egress"}, o.Untried); diff != "" {
		t.Errorf("untried (-want +got):\n%s", diff)
	}
	for name, x := range map[string]struct {
		w         bundle.Window
		contracts []string
		want      string
	}{
		"fewer check files than names":   {bundle.Window{Files: []string{"a", "b"}}, nil, "1 check files and names 2"},
		"fewer contracts than names":     {bundle.Window{Files: []string{"a"}, Contracts: []string{"a.yaml"}}, nil, "0 files that checks read and names 1"},
		"more contracts than names":      {bundle.Window{Files: []string{"a"}}, []string{"{}"}, "1 files that checks read and names 0"},
		"a contract that climbs":         {bundle.Window{Files: []string{"a"}, Contracts: []string{"../../etc/passwd"}}, []string{"{}"}, "outside of every workspace"},
		"a contract from the root":       {bundle.Window{Files: []string{"a"}, Contracts: []string{"/etc/passwd"}}, []string{"{}"}, "outside of every workspace"},
		"two contracts of the same name": {bundle.Window{Files: []string{"a"}, Contracts: []string{"a", "a"}}, []string{"{}", "{}"}, "names a twice"},
	} {
		if _, err := open(x.w, x.contracts...); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

// What programs printed is in no bundle, and stays where it was.
func TestShareable(t *testing.T) {
	it := &traffic.Iteration{Failure: &traffic.Failure{What: "the build failed", Output: "sesame"}, Exercise: &traffic.ExerciseResult{Steps: []traffic.StepResult{{Step: "run x", Output: "sesame"}}}}
	x := shareable(it)
	if x.Failure.Output+x.Exercise.Steps[0].Output != "" || x.Failure.What == "" || x.Exercise.Steps[0].Step == "" {
		t.Errorf("%+v, %+v", x.Failure, x.Exercise)
	}
	if it.Failure.Output == "" || it.Exercise.Steps[0].Output == "" {
		t.Error("the iteration itself was changed")
	}
}
