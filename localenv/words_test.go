package localenv

import (
	"slices"
	"testing"
)

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, line string
		want       []string
		wantErr    bool
	}{
		{name: "blanks", line: "  postgres -D  {{.Data}}\t-p 5432 ", want: []string{"postgres", "-D", "{{.Data}}", "-p", "5432"}},
		{name: "quotes", line: `sh -c 'echo "a b"' "c d"`, want: []string{"sh", "-c", `echo "a b"`, "c d"}},
		{name: "empty word", line: `a '' ""`, want: []string{"a", "", ""}},
		{name: "joined", line: `--x="a b"c`, want: []string{"--x=a bc"}},
		{name: "backslash", line: `a\ b "\$x \n" '\n'`, want: []string{"a b", `$x \n`, `\n`}},
		{name: "nothing", line: " ", want: nil},
		{name: "open quote", line: `a "b`, wantErr: true},
		{name: "last backslash", line: `a \`, wantErr: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := splitWords(tc.line)
			if !slices.Equal(got, tc.want) || (err != nil) != tc.wantErr {
				t.Errorf("%s: got %q, %v, want %q", tc.line, got, err, tc.want)
			}
		})
	}
}
