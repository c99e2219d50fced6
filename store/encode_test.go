package store

import (
	"testing"
	"testing/quick"

	"github.com/devloop-io/devloop/traffic"
)

func TestHeadersAreWrittenAsJSON(t *testing.T) {
	t.Parallel()
	var x texts
	same := func(list []traffic.Header) bool {
		got := x.headers(list)
		return got == listJSON(list) && x.headers(append(list, traffic.Header{Name: "A", Value: "b"})) != got && got == listJSON(list)
	}
	for _, list := range [][]traffic.Header{nil, {}, {{Name: "Host", Value: "a"}, {Name: "X", Value: ""}}, {{Name: "a\"\\<>&\x00\x7f\u2028é", Value: "\xff"}}} {
		if !same(list) {
			t.Errorf("headers(%q) is %s, want %s", list, x.headers(list), listJSON(list))
		}
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

// TestPlainJSON compares it with the table, for each byte at each place.
func TestPlainJSON(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		for i := range n {
			for c := range 256 {
				b := []byte("abcdefghijklmnopqrst")[:n]
				b[i] = byte(c)
				if plainJSON(string(b)) != asIs[c] {
					t.Fatalf("%q", b)
				}
			}
		}
	}
}
