package websocket

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/devloop-io/devloop/traffic"
)

// Limits of permessage-deflate.
const (
	windowSize  = 32 << 10  // of a deflate stream
	maxPacked   = 256 << 10 // compressed bytes of one message that are kept
	maxUnpacked = 16 << 20  // of what comes out of one message
)

// inflater is the state of one direction's compression.
type inflater struct {
	On     bool   // permessage-deflate was agreed on
	Fresh  bool   // each message begins with an empty window
	Window []byte // the last bytes that came out
	Lost   bool   // what the window holds is not known any more
}

// tail ends the last block, which senders leave out (RFC 7692 section 7.2.2), and then the stream.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

var errContext = errors.New("permessage-deflate: an earlier message is missing")
var errTooLong = errors.New("permessage-deflate: the message is too long")

var readers = sync.Pool{New: func() any { return flate.NewReader(strings.NewReader("")) }}

// unpack decompresses a message: at most limit bytes of it, and its whole length.
func (z *inflater) unpack(packed []byte, limit int) (out []byte, length int64, err error) {
	if z.Lost {
		return nil, 0, errContext
	}
	r := readers.Get().(io.Reader)
	defer readers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(append(packed, tail...)), z.Window); err != nil {
		return nil, 0, err
	}
	var block [8 << 10]byte
	window := z.Window
	for err == nil {
		var n int
		n, err = r.Read(block[:])
		length += int64(n)
		out = append(out, block[:min(n, limit-len(out))]...)
		if !z.Fresh {
			window = slide(window, block[:n])
		}
		if length > maxUnpacked {
			err = errTooLong
		}
	}
	z.Window = window
	if err == io.EOF {
		return out, length, nil
	}
	z.lose()
	if !errors.Is(err, errTooLong) {
		err = errors.New("permessage-deflate: " + err.Error())
	}
	return out, length, err
}

// slide keeps the last bytes of what came out.
func slide(window, b []byte) []byte {
	if over := len(window) + len(b) - windowSize; over > 0 && over < len(window) {
		window = window[:copy(window, window[over:])]
	} else if over > 0 {
		window, b = window[:0], b[len(b)-windowSize:]
	}
	return append(window, b...)
}

// lose says that a message was not decompressed: later ones may refer to it.
func (z *inflater) lose() {
	if !z.Fresh {
		z.Lost, z.Window = true, nil
	}
}

// agree reads what the server answered to the client's offer (RFC 7692 section 7.1).
func agree(headers []traffic.Header) (client, server inflater) {
	for _, h := range headers {
		if !strings.EqualFold(h.Name, "Sec-WebSocket-Extensions") {
			continue
		}
		for extension := range strings.SplitSeq(h.Value, ",") {
			name, parameters, _ := strings.Cut(extension, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
				continue
			}
			client.On, server.On = true, true
			for p := range strings.SplitSeq(parameters, ";") {
				switch strings.ToLower(strings.TrimSpace(p)) {
				case "client_no_context_takeover":
					client.Fresh = true
				case "server_no_context_takeover":
					server.Fresh = true
				}
			}
		}
	}
	return client, server
}
