package http2

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

var huffmanTexts = []string{"", "0", "a", "tenant-0364", "application/grpc+proto", "/shop.orders.v1.Orders/Get", "Mon, 21 Oct 2013 20:13:21 GMT",
	"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1", "{\"a\":[1,2]}", "\x00\xff\x80é", strings.Repeat("aX", 30), strings.Repeat("ab&*;XZ", 100)}

// All bytes, alone and beside others, are what the library makes of them.
func TestHuffman(t *testing.T) {
	t.Parallel()
	texts := huffmanTexts
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), "a"+string([]byte{byte(c)})+"Z", strings.Repeat(string([]byte{byte(c)}), 9))
	}
	for _, text := range texts {
		if got, err := huffman(hpack.AppendHuffmanString(nil, text)); got != text || err != nil {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
}

// FuzzHuffman: any bytes are what the library makes of them, mistakes included.
func FuzzHuffman(f *testing.F) {
	for _, text := range huffmanTexts {
		f.Add(hpack.AppendHuffmanString(nil, text))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x1f, 0xff})
	f.Add([]byte{0x18})
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wrong := hpack.HuffmanDecodeToString(b)
		got, err := huffman(b)
		if got != want || (err == nil) != (wrong == nil) {
			t.Errorf("%x is read as %q (%v), want %q (%v)", b, got, err, want, wrong)
		}
	})
}

func BenchmarkHuffman(b *testing.B) {
	raw := hpack.AppendHuffmanString(nil, "/shop.orders.v1.Orders/Get?tenant=0364")
	b.Run("huffman", func(b *testing.B) {
		for b.Loop() {
			_, _ = huffman(raw)
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			_, _ = hpack.HuffmanDecodeToString(raw)
		}
	})
}
