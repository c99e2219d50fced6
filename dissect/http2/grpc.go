package http2

import (
	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/dissect/http1"
	"github.com/devloop-io/devloop/dissect/protocol"
)

// grpc makes the call a gRPC call.
func (x *stream) grpc(contentType, encoding string) {
	x.Call.GRPC = grpc.New(x.Call.Path, contentType, encoding)
	x.Messages[protocol.Client].Text = grpc.IsText(contentType)
}

// readStatus finds what the call came to: in the trailers, or in the headers of a response without messages.
func (x *stream) readStatus(fields []field) {
	for i := range fields {
		grpc.Field(x.Call.GRPC, fields[i].Name, fields[i].Value)
	}
}

// count tells the call how many messages went either way.
func (x *stream) count() {
	if g := x.Call.GRPC; g != nil {
		g.RequestMessages, g.ResponseMessages = x.Messages[0].Count, x.Messages[1].Count
		x.Messages[protocol.Server].Note(g, http1.DecodeTrailers)
	}
}
