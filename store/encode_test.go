package store

import (
	"slices"
	"strconv"
	"strings"
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

// TestRepeatedHeaders: lists come back as what they are, however often they come and however alike they are.
func TestRepeatedHeaders(t *testing.T) {
	t.Parallel()
	var x texts
	lists := [][]traffic.Header{nil, {}, {{Name: "", Value: ""}}, {{Name: "A", Value: "\x01"}}, {{Name: "A", Value: "<é>"}}}
	for i := range 3000 { // more than are kept
		n := strconv.Itoa(i % 1500)
		lists = append(lists, []traffic.Header{{Name: "Content-Length", Value: n}, {Name: "Date", Value: "1" + n + "1"}, {Name: "X", Value: ""}})
		lists = append(lists, []traffic.Header{{Name: "Content-Length", Value: n}, {Name: "Date", Value: "1" + n + "1"}, {Name: "Y", Value: ""}}) // of the same mark
	}
	lists = append(lists, []traffic.Header{{Name: "", Value: strings.Repeat("x", 5000)}})
	for range 2 {
		for _, list := range lists {
			for range 3 { // the second time a list is kept, and the third found
				mutable := slices.Clone(list)
				x.reset()
				got, want := x.repeated(mutable), listJSON(list)
				for i := range mutable {
					mutable[i] = traffic.Header{Name: "gone"}
				}
				if got != want || x.plain != (len(list) != 1 || list[0].Name == "") {
					t.Fatalf("repeated(%.300q) is %.300s, plain %v, want %.300s", list, got, x.plain, want)
				}
				x.plain = false // by a text before
				if x.repeated(list); x.plain {
					t.Fatalf("repeated(%.300q) makes a batch plain that is not", list)
				}
			}
		}
	}
	for i := range x.lists {
		if n := len(x.lists[i].text); n > 4<<10 {
			t.Errorf("a text of %d bytes is kept", n)
		}
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
