package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// BaselineInput says which baseline, and which traffic.
type BaselineInput struct {
	Name       string   `json:"name,omitempty" jsonschema:"of the baseline; the exercise's name by default"`
	Exercise   string   `json:"exercise,omitempty" jsonschema:"that drives the runs; devloop.yaml's default otherwise"`
	Runs       int      `json:"runs,omitempty" jsonschema:"iterations to run now; recording runs 5 by default, comparing none: it takes the newest one"`
	Iterations []string `json:"iterations,omitempty" jsonschema:"iterations that are there already, instead of running some"`
}

func (in BaselineInput) request() control.BaselineRequest {
	return control.BaselineRequest{Name: in.Name, Exercise: in.Exercise, Runs: in.Runs, Iterations: in.Iterations}
}

// AcceptInput says which change of a baseline is meant to be.
type AcceptInput struct {
	BaselineInput
	Reason string `json:"reason" jsonschema:"why the change is accepted; it is kept in the file"`
}

func baselineRecord(s *mcp.Server, t *tools) {
	add(s, t, judges, control.BaselineRecord.Name, "Record a baseline",
		"Runs the exercise several times and writes down how the services spoke: endpoints, edges, calls for each request, shapes and latencies. It is a file of the workspace, to be committed.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in BaselineInput) (control.BaselineAnswer, error) {
			return answerOf(control.BaselineRecord.Ask(ctx, c, in.request(), progress(ctx, req)))
		})
}

func baselineCompare(s *mcp.Server, t *tools) {
	add(s, t, judges, control.BaselineCompare.Name, "Compare with a baseline",
		"What differs from the recorded baseline, and whether that is a regression. Without runs the newest iteration is compared.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in BaselineInput) (control.BaselineAnswer, error) {
			return answerOf(control.BaselineCompare.Ask(ctx, c, in.request(), progress(ctx, req)))
		})
}

func baselineAccept(s *mcp.Server, t *tools) {
	add(s, t, creates, control.BaselineAccept.Name, "Accept a change",
		"Writes what differs into the baseline, with the reason. Ask the user first: it says that the change is meant to be.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in AcceptInput) (control.BaselineAnswer, error) {
			r := in.request()
			r.Reason = in.Reason
			return answerOf(control.BaselineAccept.Ask(ctx, c, r, progress(ctx, req)))
		})
}

func baselineList(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.BaselineList, "List baselines", "The baselines of the workspace: what they were recorded from, and whether they can be compared on this machine.", nil)
}

func wireDiff(s *mcp.Server, t *tools) {
	ask(s, t, judges, control.WireDiff, "Wire diff",
		"What the newest iteration does otherwise on the wire than the last revision that passed: edges, calls for each request, headers, fields, statuses, retries, latencies with their effect. It needs no baseline and judges nothing: one run tells what changed, not whether that is worse.", nil)
}
