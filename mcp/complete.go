package mcp

import (
	"context"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// maxCompletions is what the protocol allows in one answer.
const maxCompletions = 100

// complete proposes values for arguments of prompts and resources: names that there are now. What cannot be asked is
// completed with nothing.
func (t *tools) complete(ctx context.Context, r *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	typed := r.Params.Argument.Value
	var values []string
	switch name := r.Params.Argument.Name; name {
	case "kfl":
		values = completeFilter(typed)
	case "minutes":
		values = startingWith([]string{"5", "15", "60", "1440"}, typed)
	default:
		values = startingWith(t.names(ctx, name), typed)
	}
	total := len(values)
	values = values[:min(total, maxCompletions)]
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: total, HasMore: total > len(values)}}, nil
}

// names are the values that an argument of this name can have.
func (t *tools) names(ctx context.Context, argument string) []string {
	list, _ := retry(ctx, t, func(c *control.Client) ([]string, error) {
		switch argument {
		case "service", "client", "server":
			return workloadNames(ctx, c, "service")
		case "namespace":
			return workloadNames(ctx, c, "namespace")
		case "iteration", "a", "b", "good", "bad":
			st, err := c.Status(ctx)
			if err != nil || st.Last == nil {
				return nil, err
			}
			return []string{st.Last.ID, st.Last.Revision}, nil
		case "exercise":
			st, err := c.Status(ctx)
			if err != nil {
				return nil, err
			}
			return st.Exercises, nil
		case "check":
			st, err := c.Status(ctx)
			if err != nil || st.Last == nil {
				return nil, err
			}
			var names []string
			for _, check := range st.Last.Checks {
				names = append(names, check.Name)
			}
			return names, nil
		}
		return nil, nil
	})
	return list
}

// workloadNames are names in the traffic, and those of the services that run.
func workloadNames(ctx context.Context, c *control.Client, kind string) ([]string, error) {
	var names []string
	if a, err := control.ListWorkloads.Ask(ctx, c, query.WorkloadsRequest{Type: kind}, nil); err == nil {
		for _, w := range a.Workloads {
			names = append(names, w.Name)
		}
	}
	if kind == "service" {
		st, err := c.Status(ctx)
		if err != nil {
			return names, err
		}
		for _, s := range st.Services {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// startingWith keeps what begins as typed, in order and once each.
func startingWith(values []string, typed string) []string {
	kept := []string{}
	for _, v := range values {
		if v != "" && strings.HasPrefix(strings.ToLower(v), strings.ToLower(typed)) {
			kept = append(kept, v)
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}

// completeFilter completes the last word of a filter with the fields that there are.
func completeFilter(typed string) []string {
	at := strings.LastIndexFunc(typed, func(r rune) bool {
		return r != '_' && r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) + 1
	var names []string
	for _, f := range filter.Fields() {
		if !f.Stub {
			names = append(names, f.Name)
		}
	}
	kept := startingWith(names, typed[at:])
	for i := range kept {
		kept[i] = typed[:at] + kept[i]
	}
	return kept
}
