package devloop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// module writes a small Go module with two services that share a package.
func module(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                    "module example.com/m\n\ngo 1.26\n",
		"cmd/a/main.go":             "package main\n\nimport \"example.com/m/internal/shared\"\n\nfunc main() { println(shared.Name) }\n",
		"cmd/b/main.go":             "package main\n\nimport _ \"embed\"\n\n//go:embed page/index.html\nvar page string\n\nfunc main() { println(page) }\n",
		"cmd/b/page/index.html":     "<p>",
		"internal/shared/x.go":      "package shared\n\nconst Name = \"x\"\n",
		"internal/unused/y.go":      "package unused\n",
		"internal/shared/z_test.go": "package shared\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &config.Config{Dir: dir, Services: map[string]config.Service{
		"a": {Go: "./cmd/a", EnvFile: "a.env"}, "b": {Go: "./cmd/b"}, "c": {Command: "c", Watch: []string{"web/**/*.js"}},
	}}
}

func TestASaveTouchesWhatIsMadeOfIt(t *testing.T) {
	s := newSources(t.Context(), module(t))
	for path, want := range map[string][]string{
		"cmd/a/main.go":             {"a"},
		"cmd/b/page/index.html":     {"b"}, // embedded
		"internal/shared/x.go":      {"a"},
		"internal/shared/new.go":    {"a"},
		"internal/shared/z_test.go": nil,
		"internal/unused/y.go":      nil,
		"go.mod":                    {"a", "b"},
		"a.env":                     {"a"},
		"web/src/deep/app.js":       {"c"},
		"README.md":                 nil,
	} {
		if diff := cmp.Diff(want, s.touched([]string{path}), cmpEmpty); diff != "" {
			t.Errorf("a save of %s (-want +got):\n%s", path, diff)
		}
	}
}

var cmpEmpty = cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Comparer(func(a, b []string) bool { return true }))

func TestBuildNamesProgramsByContent(t *testing.T) {
	cfg := module(t)
	if err := os.WriteFile(filepath.Join(cfg.Dir, "a.env"), []byte("X=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &builder{env: local{}, cfg: cfg, dir: filepath.Join(cfg.Dir, ".devloop", "build")}
	first, err := b.build(t.Context(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.build(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if first["a"].ID != again["a"].ID {
		t.Errorf("the same source is build %s and then %s", first["a"].ID, again["a"].ID)
	}
	if filepath.Base(first["b"].Argv[0]) != "b" {
		t.Errorf("the program of b is %s", first["b"].Argv[0])
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "a.env"), []byte("X=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed, err := b.build(t.Context(), []string{"a"})
	if err != nil || changed["a"].ID == first["a"].ID {
		t.Errorf("another environment is the same build %s: %v", changed["a"].ID, err)
	}
	known := &builder{env: local{}, cfg: cfg, dir: b.dir, compiled: map[string]string{"a": changed["a"].Argv[0]}}
	if quick, err := known.build(t.Context(), []string{"a"}); err != nil || quick["a"].ID != changed["a"].ID {
		t.Errorf("without compiling: build %s, want %s: %v", quick["a"].ID, changed["a"].ID, err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "cmd", "a", "main.go"), []byte("package main\n\nfunc main() { broken }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = b.build(t.Context(), []string{"a"})
	var failed *buildError
	if !errors.As(err, &failed) || failed.output == "" || failed.services[0] != "a" {
		t.Errorf("a broken source: %v", err)
	}
}

func TestPackagesOfOneNameAreBuiltApart(t *testing.T) {
	b := &builder{env: local{}, cfg: &config.Config{Services: map[string]config.Service{"x": {Go: "./x/server"}, "y": {Go: "./y/server"}, "z": {Go: "./z"}}}}
	if diff := cmp.Diff([][]string{{"x", "z"}, {"y"}}, b.groups([]string{"x", "y", "z"})); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// TestModuleOfOneProgram: the program lies in the module's own folder, which is called otherwise than the module.
func TestModuleOfOneProgram(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "001")
	for name, text := range map[string]string{"go.mod": "module example.com/pay\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &config.Config{Dir: dir, Services: map[string]config.Service{"payment": {Go: "."}, "again": {Go: "./"}}}
	b := &builder{env: local{}, cfg: cfg, dir: filepath.Join(dir, ".devloop", "build")}
	built, err := b.build(t.Context(), []string{"again", "payment"})
	if err != nil || filepath.Base(built["payment"].Argv[0]) != "payment" {
		t.Errorf("built %v, %v", built, err)
	}
}

func TestServicesStartAfterWhatTheyNeed(t *testing.T) {
	cfg := &config.Config{Services: map[string]config.Service{
		"web": {DependsOn: []string{"api"}}, "api": {DependsOn: []string{"db", "auth"}}, "auth": {}, "loop1": {DependsOn: []string{"loop2"}}, "loop2": {DependsOn: []string{"loop1"}},
	}}
	for _, c := range []struct {
		names []string
		want  [][]string
	}{
		{[]string{"web", "api", "auth"}, [][]string{{"auth"}, {"api"}, {"web"}}},
		{[]string{"web"}, [][]string{{"web"}}},
		{[]string{"loop1", "loop2"}, [][]string{{"loop1", "loop2"}}}, // a cycle is cut
		{nil, nil},
	} {
		if diff := cmp.Diff(c.want, waves(cfg, c.names)); diff != "" {
			t.Errorf("waves of %v (-want +got):\n%s", c.names, diff)
		}
	}
}

func TestTheGraverExitCodeWins(t *testing.T) {
	for _, c := range []struct{ a, b, want int }{
		{0, 0, 0}, {0, 1, 1}, {4, 1, 1}, {1, 3, 3}, {3, 2, 2}, {130, 5, 130}, {0, 7, 7}, {4, 7, 7}, {1, 22, 1},
	} {
		if got := graver(c.a, c.b); got != c.want || graver(c.b, c.a) != c.want {
			t.Errorf("graver(%d, %d) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"checkout never answers 5xx": "checkout-never-answers-5xx", "no N+1": "no-n-1", "builtin/reset": "builtin/reset", "…": "", "a  b!": "a-b",
	} {
		if got := Slug(name); got != want {
			t.Errorf("Slug(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestTheCacheForgetsTheOldest(t *testing.T) {
	c := newRowCache()
	for i := range keepDissections + 2 {
		c.put(fmt.Sprint("i", i), &traffic.Dissection{})
	}
	if c.get("i0") != nil || c.get("i1") != nil || c.get("i5") == nil || len(c.rows) != keepDissections {
		t.Errorf("kept %v", c.ids)
	}
}

func TestRowsOfAnotherBuildAreLeftOut(t *testing.T) {
	d := &traffic.Dissection{
		Calls:       []*traffic.Call{{ID: "a", Revision: "r2"}, {ID: "b"}, {ID: "c", Revision: "r1"}},
		Connections: []*traffic.Connection{{ID: 1}, {ID: 2, Revision: "r2"}},
	}
	got := ofRevision(d, "r2")
	if len(got.Calls) != 1 || got.Calls[0].ID != "a" || len(got.Connections) != 1 || got.Connections[0].ID != 2 {
		t.Errorf("kept %+v", got)
	}
	if len(d.Calls) != 3 {
		t.Error("the dissection itself was changed")
	}
}

func TestAnUnknownExerciseNamesTheOthers(t *testing.T) {
	cfg := &config.Config{Exercises: map[string]config.Exercise{"a": {}, "b": {Default: true}}}
	if name, _, err := chooseExercise(cfg, ""); err != nil || name != "b" {
		t.Errorf("default: %s, %v", name, err)
	}
	if name, _, err := chooseExercise(cfg, "a"); err != nil || name != "a" {
		t.Errorf("named: %s, %v", name, err)
	}
	if _, _, err := chooseExercise(cfg, "x"); err == nil || err.Error() != `no exercise is named "x"; there are: a, b` {
		t.Errorf("unknown: %v", err)
	}
	if _, _, err := chooseExercise(&config.Config{}, ""); err == nil {
		t.Error("no exercise at all is taken")
	}
}

func TestErrorsForFaces(t *testing.T) {
	known := &control.Error{What: "x", Exit: 2}
	for _, c := range []struct {
		err  error
		exit int
	}{
		{known, 2}, {fmt.Errorf("wrapped: %w", known), 2}, {errSessionEnds, 130}, {errGone, 130}, {errors.New("odd"), 5},
	} {
		var got *control.Error
		if !errors.As(publicError(c.err), &got) || got.Exit != c.exit {
			t.Errorf("%v becomes %+v, want exit %d", c.err, got, c.exit)
		}
	}
	if publicError(nil) != nil {
		t.Error("nil becomes an error")
	}
}

// Two devloop up on one workspace: saves are followed until the last one leaves.
func TestFollowers(t *testing.T) {
	var s Session
	for i, step := range []struct{ on, want bool }{{true, true}, {true, true}, {false, true}, {false, false}, {false, false}, {true, true}} {
		s.Follow(step.on)
		if s.following() != step.want {
			t.Errorf("step %d: follows %v", i, !step.want)
		}
	}
}
