package protobuf

import (
	"bytes"
	"encoding/json"
	"strings"

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
	var all []byte
	for _, b := range split(body, grpc.IsText(content), header(headers, "grpc-encoding"), maxMessages, limit) {
		one := render(b, t, asJSON, limit-len(all))
		if one == nil {
			break
		}
		if len(all) > 0 {
			all = append(all, '\n')
		}
		all = append(all, one...)
	}
	return string(all)
}

// render is one message as a line of JSON; nil when there is no room for it.
func render(b []byte, t *message, asJSON bool, room int) []byte {
	var line []byte
	switch {
	case b == nil:
		line = []byte(`"(packed)"`)
	case asJSON:
		var out bytes.Buffer
		if json.Compact(&out, b) != nil {
			return nil
		}
		line = out.Bytes()
	default:
		if line = t.json(b); line == nil {
			line = Wire(b, room)
		}
	}
	if len(line) > room {
		return nil
	}
	return line
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
