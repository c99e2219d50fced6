package columns

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// holds finds what bytes.Contains finds.
func TestHolds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	text := func(n, letters int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + r.IntN(letters))
		}
		return b
	}
	found := 0
	for range 20_000 {
		letters := 1 + r.IntN(4)
		b, needle := text(r.IntN(60), letters), text(1+r.IntN(9), letters)
		want := bytes.Contains(b, needle)
		if want {
			found++
		}
		if holds(b, needle) != want {
			t.Fatalf("%q in %q: %v", needle, b, !want)
		}
	}
	if found < 2000 || found > 18_000 {
		t.Errorf("%d of 20000 texts were in it: too much of one kind", found)
	}
	long := []byte(strings.Repeat("ab", 200))
	for _, b := range [][]byte{append(bytes.Repeat([]byte("ab"), 199), 'a'), append([]byte("xxx"), long...)} {
		if holds(b, long) != bytes.Contains(b, long) {
			t.Errorf("a text of %d bytes in %d", len(long), len(b))
		}
	}
}

// BenchmarkHolds searches headers for a request's id that is nowhere.
func BenchmarkHolds(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var page []byte
	for len(page) < 1<<20 {
		page = append(page, `{"content-type":["application/json"],"x-request-id":["`...)
		for range 32 {
			page = append(page, "0123456789abcdef"[r.IntN(16)])
		}
		page = append(page, `"],"accept":["*/*"],"user-agent":["devloop/1.0"]}`...)
	}
	needle := []byte("abcdef01")
	b.Run("holds", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		for b.Loop() {
			holds(page, needle)
		}
	})
	b.Run("bytes", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		for b.Loop() {
			bytes.Contains(page, needle)
		}
	})
}
