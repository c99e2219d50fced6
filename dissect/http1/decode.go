package http1

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decode undoes content codings, last applied first. No more than limit bytes come out, however well they were packed;
// a body that was cut yields what its beginning says.
func decode(body []byte, codings string, limit int, cut *bool, why *string) []byte {
	if codings == "" || len(body) == 0 {
		return body
	}
	for depth := 0; codings != "" && depth < 4; depth++ {
		coding := codings
		if k := strings.LastIndexByte(codings, ','); k >= 0 {
			coding, codings = codings[k+1:], codings[:k]
		} else {
			codings = ""
		}
		r, err := open(strings.ToLower(strings.TrimSpace(coding)), body)
		if r == nil && err == nil {
			continue // identity
		}
		var out []byte
		if err == nil {
			out, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
			r.Close()
		}
		if len(out) > limit {
			out, *cut = out[:limit], true
			err = nil
		}
		if err != nil && !(*cut && len(out) > 0) && !(errors.Is(err, io.ErrUnexpectedEOF) && *cut) {
			if *why == "" {
				*why = strings.TrimSpace(coding) + ": " + err.Error()
			}
			if len(out) == 0 {
				return body
			}
		}
		body = out
	}
	return body
}

// open makes a decoder with bounded memory; nil for identity.
func open(coding string, body []byte) (io.ReadCloser, error) {
	r := bytes.NewReader(body)
	switch coding {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate": // zlib by the RFC, raw by many servers
		if z, err := zlib.NewReader(r); err == nil {
			return z, nil
		}
		return flate.NewReader(bytes.NewReader(body)), nil
	case "br":
		return io.NopCloser(brotli.NewReader(r)), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, errors.New("unknown content coding")
}
