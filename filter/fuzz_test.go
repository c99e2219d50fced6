package filter_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/devloop-io/devloop/filter"
)

// FuzzCompile feeds foreign text: it compiles or is refused with a position inside it, and never panics; what compiles
// evaluates, and its rewriting compiles too.
func FuzzCompile(f *testing.F) {
	for _, file := range []string{"kfl-spellings", "older", "errors"} {
		text, err := os.ReadFile("testdata/" + file + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			f.Add(line)
		}
	}
	f.Add(strings.Repeat("(", 100) + "http" + strings.Repeat(")", 100))
	f.Add(strings.Repeat("!", 2000) + "http")
	f.Add(strings.Repeat("http and ", 500) + "http")
	f.Add(strings.Repeat("not ", 900) + "http")
	f.Add(strings.Repeat("a.", 3000) + "b")
	f.Add("\x00\xff\u2028 and \"\xc3")
	f.Add("path matches \"" + strings.Repeat("(a{1,99})", 40) + "\"")
	row := filter.Row{Call: checkout()}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 4096 {
			return
		}
		start := time.Now()
		defer func() {
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%q took %v", src, took)
			}
		}()
		compiled, err := filter.Compile(src)
		if err != nil {
			var e *filter.Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: not an *Error: %v", src, err)
			}
			if e.Line < 1 || e.Column < 1 || e.Offset < 0 || utf8.ValidString(src) && e.Offset > len(src) {
				t.Fatalf("%q: position %d:%d at byte %d lies outside", src, e.Line, e.Column, e.Offset)
			}
			return
		}
		if _, err := compiled.Match(&row); err == nil {
			compiled.Could(&row.Call.Src, nil, "http")
		}
		if _, err := filter.Compile(compiled.Rewritten()); err != nil {
			t.Fatalf("%q compiles, and its rewriting %q does not: %v", src, compiled.Rewritten(), err)
		}
	})
}
