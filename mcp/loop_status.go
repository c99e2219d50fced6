package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// Status answers loop_status.
type Status struct {
	Workspace string                  `json:"workspace"`
	Running   bool                    `json:"running" jsonschema:"the services are up"`
	Mode      string                  `json:"mode,omitempty" jsonschema:"netns: names and ports as in a cluster; loopback: one loopback, allocated ports"`
	Capture   string                  `json:"capture,omitempty" jsonschema:"tap, afpacket or none"`
	Why       string                  `json:"capture_why,omitempty" jsonschema:"why not a better source"`
	Revision  string                  `json:"revision,omitempty"`
	Phase     string                  `json:"phase" jsonschema:"idle, or what the running iteration does"`
	Stale     []string                `json:"stale,omitempty" jsonschema:"services whose files are newer than what runs"`
	Services  []control.ServiceStatus `json:"services"`
	Exercises []string                `json:"exercises"`
	Checks    []string                `json:"check_files"`
	Last      *Iteration              `json:"last,omitempty" jsonschema:"the newest finished iteration"`
	Warnings  []string                `json:"warnings,omitempty"`
}

func loopStatus(s *mcp.Server, t *tools) {
	add(s, t, reads, "loop_status", "Loop status",
		"What runs, what captures, which services are stale, and the last verdict. Call it first. It starts nothing.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, _ struct{}) (Status, error) {
			st, err := c.Status(ctx)
			if err != nil {
				return Status{}, err
			}
			out := Status{
				Workspace: st.Workspace, Running: st.Running, Mode: st.Mode, Capture: st.Source, Why: st.SourceWhy, Revision: st.Revision,
				Phase: st.Phase, Stale: st.Stale, Services: st.Services, Exercises: st.Exercises, Checks: st.Checks, Warnings: st.Warnings,
			}
			if st.Last != nil {
				last := iteration(st.Last, false)
				out.Last = &last
			}
			return out, nil
		})
}
