package mcp

import (
	"context"
	"errors"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxError bounds what an error says, in bytes: it may repeat what was sent, and that may be megabytes.
const maxError = 16 << 10

// shortErrors bounds errors, of tools and of the protocol.
func shortErrors(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		result, err := next(ctx, method, r)
		if err != nil {
			return result, shortError(err)
		}
		if call, ok := result.(*mcp.CallToolResult); ok && call.IsError {
			for _, c := range call.Content {
				if text, ok := c.(*mcp.TextContent); ok {
					text.Text = shortText(text.Text)
				}
			}
		}
		return result, nil
	}
}

func shortError(err error) error {
	text := err.Error()
	var wire *jsonrpc.Error
	switch {
	case len(text) <= maxError:
		return err
	case errors.As(err, &wire):
		return &jsonrpc.Error{Code: wire.Code, Message: shortText(wire.Message), Data: wire.Data}
	}
	return errors.New(shortText(text))
}

// shortText leaves out the middle of a long text.
func shortText(s string) string {
	if len(s) <= maxError {
		return s
	}
	return strings.ToValidUTF8(s[:maxError*3/4], "") + " … " + strings.ToValidUTF8(s[len(s)-maxError/4:], "")
}
