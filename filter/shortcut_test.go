package filter

import (
	"testing"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/traffic"
)

// A filter answers the same with and without shortcuts, over every field of the kinds they know.
func TestShortcutsChangeNothing(t *testing.T) {
	t.Parallel()
	env, err := RowEnv()
	if err != nil {
		t.Fatal(err)
	}
	call := &traffic.Call{Protocol: "http", State: traffic.StateComplete, Status: 500, Path: "/a", Method: "GET", Index: 1, ConnID: 500,
		Src: traffic.Endpoint{Port: 500, Workload: traffic.Workload{Service: "/a"}}, HTTP: &traffic.HTTP{Host: "/a", KeptAlive: true}}
	open := *call
	open.State = traffic.StateOpen
	all := []Row{{Call: call}, {Call: &open}, {Call: call, Conn: &traffic.Connection{Calls: 500, ResetBy: "/a"}},
		{Conn: &traffic.Connection{Proto: "tcp", State: traffic.StateReset, Calls: 500, SYNRetransmits: 1}}}
	for _, f := range table().fields {
		var sources []string
		switch {
		case f.flag != nil:
			sources = []string{f.Name, "!" + f.Name, f.Name + " == true"}
		case f.text != nil:
			sources = []string{f.Name + ` == "/a"`, f.Name + ` != "/a"`, f.Name + `.startsWith("/")`, f.Name + `.endsWith("")`, f.Name + `.contains("a")`,
				f.Name + `.matches("^/")`, `["/a"].exists(x, ` + f.Name + ` == "/a")`}
		case f.number != nil:
			sources = []string{f.Name + " == 500", f.Name + " != 500", f.Name + " < 1", f.Name + " <= 1", f.Name + " > 1", f.Name + " >= 500", f.Name + " >= 1.5"}
		}
		for _, src := range sources {
			compiled, err := Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := env.Program(compiled.Checked(), cel.EvalOptions(cel.OptOptimize))
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				got, err := compiled.Match(&all[i])
				if err != nil {
					t.Fatal(err)
				}
				act := NewActivation(time.Unix(0, 0))
				act.Reset(&all[i], ModeFilter)
				want, _, err := plain.Eval(act)
				if err != nil || want.Value() != got {
					t.Errorf("row %d: %s: want %v, got %v (%v)", i, src, want, got, err)
				}
			}
		}
	}
}

// An open call has no error yet, by the shortcut and by the planner's own way.
func TestShortcutOfAMissingText(t *testing.T) {
	t.Parallel()
	row := Row{Call: &traffic.Call{State: traffic.StateOpen, Error: traffic.ErrorReset}}
	for _, src := range []string{`error_type == ""`, `"" == error_type`} {
		f, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.Match(&row); !ok || err != nil {
			t.Errorf("%s: %v, %v", src, ok, err)
		}
	}
}
