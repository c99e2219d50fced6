package protobuf

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/traffic"
)

// maxMessages is how many messages of one direction are shown.
const maxMessages = 1000

// Describe writes the messages of a gRPC call into it as JSON, one a line and at most limit bytes of each direction: those
// that its bodies hold whole. Types may be nil.
func Describe(c *traffic.Call, types *Types, limit int) {
	g, h := c.GRPC, c.HTTP
	in, out := types.method(g.Service, g.Method)
	g.RequestJSON = messages(h.RequestBody, h.RequestHeaders, in, limit)
	g.ResponseJSON = messages(h.ResponseBody, h.ResponseHeaders, out, limit)
}

// messages renders the body of one direction.
func messages(body []byte, headers []traffic.Header, t *message, limit int) string {
	if len(body) == 0 {
		return ""
	}
	content := header(headers, "content-type")
	if !grpc.Is(content) {
		return ""
	}
	asJSON := strings.Contains(content, "+json")
	scratch := lines.Get().(*[]byte)
	defer lines.Put(scratch)
	all := (*scratch)[:0]
	for _, b := range split(body, grpc.IsText(content), header(headers, "grpc-encoding"), maxMessages, limit) {
		before := len(all)
		if before > 0 {
			all = append(all, '\n')
		}
		var ok bool
		if all, ok = render(all, b, t, asJSON, limit-before); !ok {
			all = all[:before]
			break
		}
	}
	if cap(all) <= maxScratch {
		*scratch = all
	}
	return string(all)
}

// lines are what messages are rendered in, before it is known how long they are.
var lines = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 256 << 10 // larger ones are not used again

// render appends one message as a line of JSON; it says whether there was room for it.
func render(out, b []byte, t *message, asJSON bool, room int) ([]byte, bool) {
	var line []byte
	switch {
	case b == nil:
		line = []byte(`"(packed)"`)
	case asJSON:
		var packed bytes.Buffer
		if json.Compact(&packed, b) != nil {
			return out, false
		}
		line = packed.Bytes()
	default:
		if line = t.json(b); line == nil {
			return appendWire(out, b, room)
		}
	}
	if len(line) > room {
		return out, false
	}
	return append(out, line...), true
}

// header is the value of the first header of a name.
func header(list []traffic.Header, name string) string {
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return list[i].Value
		}
	}
	return ""
}
