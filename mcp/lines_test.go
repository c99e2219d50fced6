package mcp

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// talk sends lines to a server over stdio, and returns what it answers until one that contains last.
func talk(t *testing.T, lines, last string) string {
	t.Helper()
	in, to := io.Pipe()
	from, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), Options{}, in, out) }()
	go func() {
		if _, err := io.WriteString(to, lines); err != nil {
			t.Error(err)
		}
	}()
	var all strings.Builder
	for answers := bufio.NewScanner(from); answers.Scan(); {
		all.WriteString(answers.Text() + "\n")
		if strings.Contains(answers.Text(), last) {
			break
		}
	}
	to.Close()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	return all.String()
}

type closing struct{ io.Writer }

func (closing) Close() error { return nil }

// What is no message is refused, and the session goes on.
func TestMessagesThatAreNone(t *testing.T) {
	t.Parallel()
	const begin = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}` + "\n" +
		`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
	for name, tt := range map[string]struct{ line, want string }{
		"no JSON":      {`{"jsonrpc": nonsense`, `"code":-32700`},
		"two in a row": {`{"jsonrpc":"2.0","method":"notifications/initialized"}{}`, `"code":-32700`},
		"too long":     {`{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"` + strings.Repeat("x", maxMessage) + `"}}`, `more than 16 MB`},
		"empty":        {"\r\n \n", ""},
		"binary":       {"\x00\xff\xfe", `"code":-32700`},
	} {
		got := talk(t, begin+tt.line+"\n"+`{"jsonrpc":"2.0","id":2,"method":"ping"}`+"\n", `"id":2`)
		refused := strings.Count(got, `"id":null`)
		if !strings.Contains(got, tt.want) || refused != min(1, len(tt.want)) || !strings.Contains(got, `"id":2,"result"`) {
			t.Errorf("%s: %.2000s", name, got)
		}
	}
}

// FuzzLines: whatever comes is handed on as lines of JSON, or answered.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{}\n[1]\r\nno\n\n\"x\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		l := newLines(io.NopCloser(bytes.NewReader(b)), &wholeWrites{out: closing{&out}})
		got, err := io.ReadAll(l)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > len(b) {
			t.Errorf("%q became %q", b, got)
		}
		refused := bytes.Count(out.Bytes(), []byte("\n"))
		if all := bytes.Count(b, []byte("\n")) + 1; refused+bytes.Count(got, []byte("\n")) > all {
			t.Errorf("%d lines of %q: %q, %d refused", all, b, got, refused)
		}
	})
}
