package checktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRun(t *testing.T) {
	results, err := Run("testdata/shop.netcheck_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if len(r.Failures) > 0 {
			t.Errorf("%d %s: %q", r.Line, r.Case, r.Failures)
		}
	}
	if len(results) != 4 || results[1].Line != 12 {
		t.Errorf("results: %+v", results)
	}
}

// TestWrongVerdicts: a case that wants something else says what came, and why.
func TestWrongVerdicts(t *testing.T) {
	dir := t.TempDir()
	checks, err := os.ReadFile("testdata/shop.netcheck.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.netcheck.yaml", string(checks))
	path := write(t, dir, "b.netcheck_test.yaml", `
checks: a.netcheck.yaml
cases:
  - name: wrong
    calls: [{from: a, to: frontend, path: /api/v1/checkout, status: 503}]
    want: {checkout never answers 5xx: pass, "everybody sends a token [b]": fail}
`)
	results, err := Run(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"checkout never answers 5xx: fail, want pass: 1 of 1 call (a → frontend) have status_code >= 500",
		"everybody sends a token [b]: there is no such group; the results are checkout never answers 5xx, everybody sends a token [a], the payment path stays fast",
	}
	if diff := cmp.Diff(want, results[0].Failures); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "the file is empty"},
		"no cases":      {"checks: a\n", "the file has no cases"},
		"unknown key":   {"cases:\n  - name: x\n    cals: []\n    want: {a: pass}\n", "t.yaml:3:5: field cals not found"},
		"no YAML":       {"cases: [", "t.yaml:1:1: "},
		"no name":       {"cases:\n  - want: {a: pass}\n", "t.yaml:2:1: the case has no name"},
		"wants nothing": {"cases:\n  - name: x\n", "the case wants nothing"},
		"no verdict":    {"cases:\n  - name: x\n    want: {a: ok}\n", `"ok" of "a" is no verdict`},
		"too many":      {"cases:\n  - name: x\n    calls: [{repeat: 99999}, {repeat: 99999}]\n    want: {a: pass}\n", "too many calls"},
		"far too many":  {"cases:\n  - name: x\n    calls: [{repeat: 99999999999}]\n    want: {a: pass}\n", "repeat is 99999999999"},
	} {
		if _, err := Parse("t.yaml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	write(t, dir, "a.netcheck.yaml", "checks:\n  - {name: quick, on: http, expect: count() > 0}\n")
	if _, err := Run(write(t, dir, "a.netcheck_test.yaml", "cases:\n  - name: x\n    want: {quik: pass}\n")); err == nil || !strings.Contains(err.Error(), `did you mean "quick"?`) {
		t.Errorf("a check that there is not: %v", err)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// FuzzParse: any text is read or refused with a place, in bounded time.
func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("testdata/shop.netcheck_test.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("cases: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := Parse("t.yaml", data); err == nil && len(file.Cases) == 0 {
			t.Error("a file without cases was read")
		}
	})
}
