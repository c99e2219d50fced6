package store

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/zstd"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"
)

// fastZstd is the library's zstd at its fastest, in a tenth of the memory: pages are far smaller than the windows that it allots.
type fastZstd struct {
	parquetzstd.Codec
	encoders sync.Pool
}

// Encode compresses src into dst.
func (c *fastZstd) Encode(dst, src []byte) ([]byte, error) {
	e, ok := c.encoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(256<<10),
			zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
	}
	defer c.encoders.Put(e)
	return e.EncodeAll(src, dst[:0]), nil
}

// rawFrame is src as a frame of zstd that compresses nothing (RFC 8878, sections 3.1.1.1 and 3.1.1.2).
func rawFrame(dst, src []byte) []byte {
	const singleSegment, size4, maxBlock = 0x20, 0x80, 128 << 10
	dst = append(dst[:0], 0x28, 0xb5, 0x2f, 0xfd, singleSegment|size4)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	for {
		n, last := min(len(src), maxBlock), 0
		if n == len(src) {
			last = 1
		}
		head := n<<3 | last
		dst = append(append(dst, byte(head), byte(head>>8), byte(head>>16)), src[:n]...)
		if src = src[n:]; last == 1 {
			return dst
		}
	}
}
