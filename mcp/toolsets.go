package mcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// DefaultToolset closes the loop.
const DefaultToolset = "loop"

// toolset is a group of tools that is chosen by its name. A tool may be in several.
type toolset struct {
	name         string
	what         string // for people
	tools        []func(*mcp.Server, *tools)
	instructions string // beyond [Instructions]
}

// toolsets is the list of them.
var toolsets = []toolset{
	{name: DefaultToolset, what: "build, run, judge, and look at why", tools: []func(*mcp.Server, *tools){
		loopStatus, loopRun, loopWait, windowOpen, windowClose, verdictGet, evidenceGet, trafficQuery, trafficGet, checkExpression, doctor,
	}},
	{name: "traffic", what: "calls, connections and call trees of what was captured", tools: []func(*mcp.Server, *tools){
		trafficQuery, trafficGet, getCallTree,
	}, instructions: "Which call caused which, and where the time went: get_call_tree."},
	{name: "cluster", what: "what is captured in a cluster, and by whom", tools: []func(*mcp.Server, *tools){
		checkCaptureStatus, configureCapture, startCapture, stopCapture,
	}, instructions: "In a cluster: check_capture_status says which pods are captured and how the nodes' agents are. Ask the user before stop_capture."},
}

// Toolsets are the names and what is in them, for help.
func Toolsets() [][2]string {
	var list [][2]string
	for _, set := range toolsets {
		list = append(list, [2]string{set.name, set.what})
	}
	return list
}

// olderTools are names that a tool had elsewhere: they are understood and not listed.
var olderTools = map[string]string{
	"check_kubeshark_status": "check_capture_status",
	"start_kubeshark":        "start_capture",
	"stop_kubeshark":         "stop_capture",
}

// olderNames calls a tool by the name that it has here.
func olderNames(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		if call, ok := r.(*mcp.CallToolRequest); ok && call.Params != nil {
			if name, ok := olderTools[call.Params.Name]; ok {
				call.Params.Name = name
			}
		}
		return next(ctx, method, r)
	}
}

// chosen says which tools a server offers.
type chosen struct {
	o     Options
	sets  []toolset
	names map[string]bool
}

// choose reads the options. A name that nothing bears is an error: an agent without its tools would not know why.
func choose(o Options) (*chosen, error) {
	c := &chosen{o: o, names: map[string]bool{}}
	wanted := o.Toolsets
	if len(wanted) == 0 && len(o.Tools) == 0 {
		wanted = []string{DefaultToolset}
	}
	var known []string
	for _, set := range toolsets {
		known = append(known, set.name)
		if slices.Contains(wanted, set.name) || slices.Contains(wanted, "all") || set.name == DefaultToolset && slices.Contains(wanted, "default") {
			c.sets = append(c.sets, set)
			maps.Copy(c.names, set.names())
		}
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) && name != "all" && name != "default" {
			return nil, control.Usagef("--toolsets takes "+strings.Join(known, ", ")+", default and all", fmt.Sprintf("there is no toolset %q", name))
		}
	}
	every := map[string]bool{}
	for _, set := range toolsets {
		maps.Copy(every, set.names())
	}
	for _, list := range []*[]string{&c.o.Tools, &c.o.Exclude} {
		*list = slices.Clone(*list)
		for i, name := range *list {
			if older, ok := olderTools[name]; ok {
				name = older
			}
			if !every[name] {
				return nil, control.Usagef("the tools are "+strings.Join(slices.Sorted(maps.Keys(every)), ", "), fmt.Sprintf("there is no tool %q", name))
			}
			(*list)[i] = name
		}
	}
	return c, nil
}

// names are those of the set's tools, guarded or not.
func (set toolset) names() map[string]bool {
	names := map[string]bool{}
	note := &tools{wants: func(name string, _ hints) bool {
		names[name] = true
		return false
	}}
	for _, add := range set.tools {
		add(nil, note)
	}
	return names
}

// wants says whether a tool is offered. What leaves out is stronger than what chooses.
func (c *chosen) wants(name string, h hints) bool {
	switch {
	case slices.Contains(c.o.Exclude, name), c.o.ReadOnly && !h.readOnly, h.guarded && !c.o.AllowDestructive:
		return false
	}
	return c.names[name] || slices.Contains(c.o.Tools, name)
}

// instructions are those of the loop and of the chosen toolsets.
func (c *chosen) instructions() string {
	text := Instructions
	for _, set := range c.sets {
		if set.instructions != "" {
			text += "\n" + set.instructions
		}
	}
	return text
}
