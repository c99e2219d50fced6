package store

import (
	"bytes"
	"fmt"
	"testing"
)

// TestRepeatedBodies: what comes back says the same, and is the same bytes once a body has come twice.
func TestRepeatedBodies(t *testing.T) {
	t.Parallel()
	x := newRepeatedBodies()
	scratch := make([]byte, 0, 1<<20)
	found := 0
	for i := range 20_000 {
		text := bytes.Repeat(fmt.Appendf(nil, "%d,", i%300), 20+i%300)
		if i%7 == 0 { // one that is never seen again
			text = bytes.Repeat(fmt.Appendf(nil, "once %d,", i), 40)
		}
		b := append(scratch[:0], text...)
		got := x.same(b)
		if !bytes.Equal(got, text) {
			t.Fatalf("body %d came back as %q", i, got)
		}
		if &got[0] != &b[0] {
			found++
		}
	}
	if found < 10_000 {
		t.Errorf("%d of 20000 were known", found)
	}
	for i := range 4000 { // more than it keeps
		b := bytes.Repeat(fmt.Appendf(nil, "%d;", i%2000), 8000)
		x.same(b[:min(len(b), bodyMost)])
	}
	sum := 0
	for _, b := range x.kept {
		sum += len(b)
	}
	if sum != x.total || sum > bodyTotal {
		t.Errorf("keeps %d bytes, and thinks %d", sum, x.total)
	}
}
