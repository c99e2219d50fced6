package protobuf

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/http1"
)

// Flags of a message's prefix: see [grpc.Messages].
const (
	flagPacked   = 0x01
	flagTrailers = 0x80
)

// split cuts a kept body into its messages, unpacked: at most most of them, limit bytes of each. One that cannot be unpacked is
// nil; one that is cut off by the end of the body is left out.
func split(body []byte, text bool, encoding string, most, limit int) [][]byte {
	if text {
		body = plain(body)
	}
	var all [][]byte
	for len(body) >= 5 && len(all) < most {
		n := uint64(binary.BigEndian.Uint32(body[1:]))
		if n > uint64(len(body)-5) {
			break
		}
		flags, message := body[0], body[5:5+n]
		body = body[5+n:]
		if flags&flagTrailers != 0 {
			break
		}
		if flags&flagPacked != 0 {
			message = unpack(message, encoding, limit)
		}
		all = append(all, message)
	}
	return all
}

func unpack(message []byte, encoding string, limit int) []byte {
	var cut bool
	var why string
	message = http1.Decode(message, encoding, limit, &cut, &why)
	if why != "" || cut || encoding == "" || encoding == "identity" {
		return nil
	}
	return message
}

// plain decodes base64 of which several pieces, each padded, may follow each other.
func plain(text []byte) []byte {
	out := make([]byte, 0, len(text)/4*3)
	var quad [4]byte
	n := 0
	for _, c := range text {
		if c <= ' ' {
			continue
		}
		quad[n] = c
		if n++; n == 4 {
			var err error
			if out, err = base64.StdEncoding.AppendDecode(out, quad[:]); err != nil {
				return out
			}
			n = 0
		}
	}
	return out
}
