package http1

import (
	"strings"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// web makes a call a gRPC-Web call when the message that begins says so.
func (x *exchange) web(from protocol.Side, f *fields) {
	if !grpc.IsWeb(f.content) {
		return
	}
	g := x.Call.GRPC
	switch {
	case g == nil && from == protocol.Server && !x.NoRequest:
		return
	case g == nil:
		g = grpc.New(x.Call.Path, f.content, "")
		x.Call.GRPC, x.Messages = g, &[2]grpc.Messages{}
	}
	x.Messages[from].Text = grpc.IsText(f.content)
	for i := range f.headers {
		switch h := &f.headers[i]; strings.ToLower(h.Name) {
		case "grpc-timeout":
			g.TimeoutNS = grpc.Timeout(h.Value)
		case "grpc-encoding":
			g.Encoding = h.Value
		case "grpc-status", "grpc-message": // of an answer without a body
			grpc.Field(g, strings.ToLower(h.Name), h.Value)
		}
	}
}

// count tells a gRPC-Web call how many messages went either way, and what its trailers said.
func (x *exchange) count(c *traffic.Call) {
	if x.Messages == nil || c.GRPC == nil {
		return
	}
	c.GRPC.RequestMessages, c.GRPC.ResponseMessages = x.Messages[protocol.Client].Count, x.Messages[protocol.Server].Count
	x.Messages[protocol.Server].Note(c.GRPC, DecodeTrailers)
}

// DecodeTrailers unpacks the trailers of gRPC-Web, which are short.
func DecodeTrailers(b []byte, coding string) []byte {
	var cut bool
	var why string
	if b = decode(b, coding, 64<<10, &cut, &why); why != "" {
		return nil
	}
	return b
}
