package store

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestRawFrame: what is not compressed is a frame that decoders read.
func TestRawFrame(t *testing.T) {
	t.Parallel()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, n := range []int{0, 1, 255, 256, 48 << 10, 128 << 10, 128<<10 + 1, 1 << 20} {
		src := bytes.Repeat([]byte("0123456789abcdef!"), n/17+1)[:n]
		got, err := d.DecodeAll(rawFrame([]byte("old"), src), nil)
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
		}
	}
}
