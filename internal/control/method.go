package control

import "context"

// Method is one thing that the daemon does: a request, and the answer to it. The daemon serves it as POST /v1/NAME; an MCP
// tool, a REST route and a CLI verb that do the same ask for the same method.
type Method[Request, Answer any] struct {
	Name string
}

// Ask asks the daemon. onEvent, which may be nil, is called as it goes.
func (m Method[Request, Answer]) Ask(ctx context.Context, c *Client, r Request, onEvent func(Event)) (*Answer, error) {
	return ask[Answer](ctx, c, m.Name, r, onEvent)
}
