package glob

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns, name string
		want           bool
	}{
		{"cmd/payment/**", "cmd/payment/main.go", true},
		{"cmd/payment/**", "cmd/payment/a/b/c.go", true},
		{"cmd/payment/**", "cmd/paymentx/main.go", false},
		{"**/*.go", "main.go", true},
		{"**/*.go", "a/b/main.go", true},
		{"**/*.go", "a/b/main.mod", false},
		{"go.*", "go.mod", true},
		{"go.*", "x/go.mod", false},
		{"./go.*", "go.sum", true},
		{"**", "anything/at/all", true},
		{"a/**/b/**/c", "a/b/c", true},
		{"a/**/b/**/c", "a/x/b/y/z/c", true},
		{"a/**/b/**/c", "a/x/c", false},
		{"**/*.{go,tmpl}", "x/y.tmpl", true},
		{"{cmd,internal}/**", "pkg/x", false},
		{"**/*.go !**/*_test.go", "a/x_test.go", false},
		{"**/*.go !**/*_test.go", "a/x.go", true},
		{"**/*.go !**/*_test.go **/e2e_test.go", "a/e2e_test.go", true},
		{"[", "[", false},
		{strings.Repeat("**/a/", 20) + "b", strings.Repeat("a/", 200) + "c", false},
	} {
		if got := Match(strings.Fields(c.patterns), c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.patterns, c.name, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for pattern, bad := range map[string]bool{
		"**/*.go": false, "a/{b,c}/d": false, "": true, "a/**b": true, "[": true, "{a": true, "a}": true, "{a,{b}}": true,
		strings.Repeat("{a,b}", 9): true,
	} {
		if err := Validate(pattern); (err != nil) != bad {
			t.Errorf("Validate(%q) = %v, want an error: %v", pattern, err, bad)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{"checks/b.netcheck.yaml": {}, "checks/a.netcheck.yaml": {}, "node_modules/x/c.netcheck.yaml": {}, "checks/README": {}}
	got, err := Files(fsys, []string{"**/*.netcheck.yaml"})
	if diff := cmp.Diff([]string{"checks/a.netcheck.yaml", "checks/b.netcheck.yaml"}, got); diff != "" || err != nil {
		t.Fatalf("-want +got:\n%s (error %v)", diff, err)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/**/{b,c}*", "a/x/b1")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		Match([]string{pattern}, name)
		if Validate(name) == nil && !strings.ContainsAny(name, `*?[]\{}!`) && !strings.HasPrefix(name, "./") && !Match([]string{name}, name) {
			t.Errorf("the plain pattern %q does not match itself", name)
		}
	})
}
