package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command string
		want    []string
		bad     bool
	}{
		{command: "postgres -D /data  -p 5432", want: []string{"postgres", "-D", "/data", "-p", "5432"}},
		{command: `sh -c 'echo "$HOME" | wc -l'`, want: []string{"sh", "-c", `echo "$HOME" | wc -l`}},
		{command: `a "b \"c\" \n" d\ e ''`, want: []string{"a", `b "c" \n`, "d e", ""}},
		{command: "a \\\n  b", want: []string{"a", "b"}},
		{command: `pre'mid'"post"`, want: []string{"premidpost"}},
		{command: "  \t\n "},
		{command: `a "b`, bad: true},
		{command: `a 'b`, bad: true},
		{command: `a \`, bad: true},
	} {
		got, err := SplitWords(c.command)
		if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.bad {
			t.Errorf("SplitWords(%q), error %v (-want +got):\n%s", c.command, err, diff)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`a "b c" 'd'\ e`)
	f.Fuzz(func(t *testing.T, command string) {
		words, err := SplitWords(command)
		if err != nil {
			return
		}
		again, err := SplitWords(JoinWords(words))
		if diff := cmp.Diff(words, again); diff != "" || err != nil {
			t.Errorf("%q does not survive JoinWords, error %v (-want +got):\n%s", command, err, diff)
		}
	})
}

func TestExpand(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": ""}[name]
		return v, ok
	}
	for _, c := range []struct {
		text, want string
		bad        bool
	}{
		{text: "plain $HOME $", want: "plain $HOME $"},
		{text: "x${A}y${A}", want: "x1y1"},
		{text: "${B:-two}", want: "two"},
		{text: "${EMPTY:-two}${EMPTY}", want: "two"},
		{text: "$${A}", want: "${A}"},
		{text: "${B}", bad: true},
		{text: "${A", bad: true},
		{text: "${}", bad: true},
		{text: "${1A}", bad: true},
	} {
		got, err := Expand(c.text, lookup)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("Expand(%q) = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestReadEnvFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       map[string]string
		err        string
	}{
		{name: "shapes", text: "# comment\n\nexport A=1\nB = two words # said\nC='a # b'\nD=\"x\\ny\" # end\nE=\nF=a=b\n",
			want: map[string]string{"A": "1", "B": "two words", "C": "a # b", "D": "x\ny", "E": "", "F": "a=b"}},
		{name: "no assignment", text: "A=1\nwhat\n", err: ":2:1: this is no NAME=value line\n 2 | what\n   | ^\nhint: begin comments with #"},
		{name: "open quote", text: "A=\"b\n", err: ":1:3: the quote \" is not closed at the end of the line\n 1 | A=\"b\n   |   ^"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), ".env")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadEnvFile(path)
			if c.err != "" {
				if err == nil || err.Error() != path+c.err {
					t.Fatalf("error %v, want %s", err, path+c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestQuantities(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{"256MiB": 256 << 20, "1GB": 1e9, "1.5kB": 1500, "10 B": 10, "2gib": 2 << 30, "0B": 0} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := ParseSize(want.String()); again != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", want.String(), again, err, want)
		}
	}
	for _, text := range []string{"", "B", "5", "-1MB", "1e30TB", "MB", "1XB", "NaNMB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
	for _, text := range []string{"", "5", "-1s", "7d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", text, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"command", "depends_on", "ports", "go"}
	for name, want := range map[string]string{"commnd": "command", "dependsOn": "depends_on", "prots": "ports", "zebra": "", "Go": "go"} {
		if got := Suggest(name, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestCaret(t *testing.T) {
	t.Parallel()
	long := "\tx: " + string(make([]byte, 0))
	for range 40 {
		long += "0123456789"
	}
	for _, c := range []struct {
		source string
		column int
		want   string
	}{
		{"a: b", 4, " 7 | a: b\n   |    ^"},
		{"\ta: b", 2, " 7 | \ta: b\n   | \t^"},
		{"ab", 99, " 7 | ab\n   |   ^"},
		{"ab", 0, " 7 | ab"},
	} {
		if got := Caret(c.source, 7, c.column); got != c.want {
			t.Errorf("Caret(%q, %d):\n%s\nwant\n%s", c.source, c.column, got, c.want)
		}
	}
	if got := Caret(long, 1, 300); len(got) > 3*caretWidth {
		t.Errorf("a long line is not cut: %d bytes", len(got))
	}
}
