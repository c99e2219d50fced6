package dissect

import (
	"github.com/devloop-io/devloop/dissect/graphql"
	"github.com/devloop-io/devloop/dissect/protobuf"
	"github.com/devloop-io/devloop/traffic"
)

// bodies describes what an HTTP call carries, once its bodies are as whole as they will be. It keeps no state.
func (d *Dissector) bodies(c *traffic.Call) {
	switch {
	case c.GRPC != nil:
		protobuf.Describe(c, d.o.Types, d.o.BodyLimit)
	default:
		graphql.Read(c)
	}
}
