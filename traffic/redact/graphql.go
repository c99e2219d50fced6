package redact

import "github.com/devloop-io/devloop/traffic"

// graphqlCall redacts what was read of a GraphQL call. Its bodies are redacted as those of any call.
func (r *Redactor) graphqlCall(c *traffic.Call) {
	g := c.GraphQL
	if g == nil {
		return
	}
	r.operation(c, &g.GraphQLOperation)
	for i := range g.Batch {
		r.operation(c, &g.Batch[i])
	}
	for i := range g.Errors {
		g.Errors[i].Message = r.field(c, g.Errors[i].Message, 0, "response.errors")
	}
}

func (r *Redactor) operation(c *traffic.Call, o *traffic.GraphQLOperation) {
	o.Query = r.field(c, o.Query, 0, "request.query")
	o.Variables = r.field(c, o.Variables, 0, "request.variables")
}

// grpcCall redacts what gRPC messages say. Where that finds a secret, the message's bytes are dropped: there it has no
// name to be found by.
func (r *Redactor) grpcCall(c *traffic.Call) {
	g := c.GRPC
	if g == nil {
		return
	}
	g.Message = r.field(c, g.Message, 0, "response.message")
	request := r.field(c, g.RequestJSON, 0, "request.body")
	response := r.field(c, g.ResponseJSON, 0, "response.body")
	if h := c.HTTP; h != nil {
		if request != g.RequestJSON {
			h.RequestBody = nil
		}
		if response != g.ResponseJSON {
			h.ResponseBody = nil
		}
	}
	g.RequestJSON, g.ResponseJSON = request, response
}
