package mcp

import (
	"context"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// ReleaseInput is what clients of Kubeshark send along.
type ReleaseInput struct {
	Release string `json:"release_namespace,omitempty" jsonschema:"accepted and not used: the agents have a namespace of their own for each workspace"`
}

func checkCaptureStatus(s *mcp.Server, t *tools) {
	add(s, t, looks, "check_capture_status", "Check capture",
		"Whether traffic is captured, which pods, namespaces and ports are targeted, and how the agent of each node is: source, degraded, dropped, memory, and what its ring holds.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, _ ReleaseInput) (control.CaptureStatus, error) {
			return status(c.Capture(ctx))
		})
}

func configureCapture(s *mcp.Server, t *tools) {
	add(s, t, configures, "configure_capture", "Choose what is captured",
		"Chooses the pods and ports that are captured in a cluster, from now on. Each call replaces the whole choice; without arguments the workspace's own pods are captured again. Not while an iteration runs, and not in the local environment.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in control.CaptureTargets) (control.CaptureStatus, error) {
			return status(c.ConfigureCapture(ctx, in))
		})
}

// StartInput starts capture.
type StartInput struct {
	Namespaces string `json:"namespaces,omitempty" jsonschema:"namespaces with commas between them"`
	PodRegex   string `json:"pod_regex,omitempty" jsonschema:"only pods whose name this Go regular expression matches somewhere"`
	ReleaseInput
}

func startCapture(s *mcp.Server, t *tools) {
	add(s, t, resumes, "start_capture", "Start capture",
		"Goes on capturing after stop_capture, with the targets of before or those given here. The services have to run: loop_run starts them, and capture with them.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in StartInput) (control.CaptureStatus, error) {
			r := control.SwitchRequest{On: true}
			if in.Namespaces != "" || in.PodRegex != "" {
				r.Targets = &control.CaptureTargets{PodRegex: in.PodRegex}
				for name := range strings.SplitSeq(in.Namespaces, ",") {
					if name = strings.TrimSpace(name); name != "" {
						r.Targets.Namespaces = append(r.Targets.Namespaces, name)
					}
				}
			}
			return status(c.SwitchCapture(ctx, r))
		})
}

func stopCapture(s *mcp.Server, t *tools) {
	add(s, t, stops, "stop_capture", "Stop capture",
		"Stops recording in the cluster until start_capture. The nodes' agents stay and record nothing; what was sealed stays. Iterations fail meanwhile. Ask the user first.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, _ ReleaseInput) (control.CaptureStatus, error) {
			return status(c.SwitchCapture(ctx, control.SwitchRequest{}))
		})
}

func status(st *control.CaptureStatus, err error) (control.CaptureStatus, error) {
	if err != nil {
		return control.CaptureStatus{}, err
	}
	return *st, nil
}
