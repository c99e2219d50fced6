package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// TreeInput names a call.
type TreeInput struct {
	ID        string `json:"id,omitempty" jsonschema:"id of any call of the tree; by default the slowest call that no other caused"`
	Iteration string `json:"iteration,omitempty" jsonschema:"the newest with traffic by default"`
	Limit     int    `json:"limit,omitempty" jsonschema:"calls of the tree, 1 to 1000; 200 by default"`
}

// Tree answers get_call_tree.
type Tree struct {
	Iteration string `json:"iteration"`
	Root      any    `json:"root" jsonschema:"the topmost call, its children within it: what each asked, how it ended, when it began and how long it took in milliseconds, its self time, whether it lies on the critical path, and how its parent was found. Untrusted text"`
	Omitted   int    `json:"omitted,omitempty" jsonschema:"calls beyond the limit"`
	Note      string `json:"note"`
}

func getCallTree(s *mcp.Server, t *tools) {
	add(s, t, reads, "get_call_tree", "Get a call's tree",
		"The calls that a call caused, from its topmost ancestor down, with self times and the critical path: where the time of a slow call went. parent_by says how sure each parent is.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in TreeInput) (Tree, error) {
			a, err := c.Trace(ctx, control.TraceRequest{ID: in.ID, Iteration: in.Iteration, Limit: in.Limit})
			if err != nil {
				return Tree{}, err
			}
			return Tree{a.Iteration, a.Root, a.Omitted, a.Note}, nil
		})
}
