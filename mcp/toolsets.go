package mcp

import (
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
	{name: "traffic", what: "calls, statistics, flows, maps and call trees, live or of a snapshot", tools: []func(*mcp.Server, *tools){
		listAPICalls, getAPICallDetails, getAPIStats, listL4Flows, getL4FlowSummary, getServiceMap, getServiceDetails,
		listWorkloads, listIPs, applyFilter, trafficQuery, trafficGet, getCallTree,
		findErrors, compareTraffic, listEvents, getDependents, listEgress, correlate, findSensitiveData, listRetries, listConnections,
		exportCalls, exportPolicy, listDatabases, getL7DataBoundaries, getDissectionStatus, enableDissection, disableDissection,
	}, instructions: "Traffic, from the whole to the part: get_api_stats or find_errors, list_api_calls, get_api_call_details. get_call_tree: which call caused which, and where the time went."},
	{name: "checks", what: "try checks on traffic, and read verdicts with their evidence", tools: []func(*mcp.Server, *tools){
		checkExpression, checksSuggest, replayRun, verdictGet, evidenceGet, faultSet, faultClear,
	}},
	{name: "baseline", what: "record how services speak, and compare with it", tools: []func(*mcp.Server, *tools){
		baselineRecord, baselineCompare, baselineAccept, baselineList, wireDiff,
	}},
	{name: "snapshots", what: "seal spans of what was recorded, dissect them, export packets and files", tools: []func(*mcp.Server, *tools){
		getDataBoundaries, captureTraffic, createSnapshot, listSnapshots, getSnapshot, deleteSnapshot, startSnapshotDissection,
		getSnapshotDissectionStatus, listSnapshotDissections, stopSnapshotDissection, deleteSnapshotDissection, listDatabases,
		exportSnapshotPCAP, exportPCAP, getFileURL, downloadFile,
		getCloudStorageStatus, uploadSnapshotToCloud, downloadSnapshotFromCloud, getCloudJobStatus,
	}, instructions: "The past: get_data_boundaries → create_snapshot → start_snapshot_dissection → any traffic tool with db SNAPSHOT/NAME."},
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

// notObserving are the tools that have no meaning where nothing is built, run, judged or changed.
var notObserving = []string{
	"loop_run", "loop_wait", "window_open", "window_close", "verdict_get", "evidence_get", "fault_set", "fault_clear",
	"baseline_record", "baseline_compare", "baseline_accept", "baseline_list", "wire_diff", "replay_run", "configure_capture", "start_capture", "stop_capture",
}

// chosen says which tools a server offers.
type chosen struct {
	o     Options
	sets  []toolset
	names map[string]hints
	every map[string]hints // of all toolsets
}

// choose reads the options. A name that nothing bears is an error: an agent without its tools would not know why.
func choose(o Options) (*chosen, error) {
	c := &chosen{o: o, names: map[string]hints{}, every: map[string]hints{}}
	wanted := o.Toolsets
	if len(wanted) == 0 && len(o.Tools) == 0 {
		wanted = []string{DefaultToolset}
		if o.Observing {
			wanted = []string{"traffic", "snapshots", "cluster"}
		}
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
	for _, set := range toolsets {
		maps.Copy(c.every, set.names())
	}
	for _, list := range []*[]string{&c.o.Tools, &c.o.Exclude} {
		*list = slices.Clone(*list)
		for i, name := range *list {
			name = newName(name)
			if _, ok := c.every[name]; !ok {
				return nil, control.Usagef("the tools are "+strings.Join(slices.Sorted(maps.Keys(c.every)), ", "), fmt.Sprintf("there is no tool %q", name))
			}
			(*list)[i] = name
		}
	}
	return c, nil
}

// names are those of the set's tools, guarded or not.
func (set toolset) names() map[string]hints {
	names := map[string]hints{}
	note := &tools{wants: func(name string, h hints) bool {
		names[name] = h
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
	case c.o.Observing && slices.Contains(notObserving, name):
		return false
	}
	_, ok := c.names[name]
	return ok || slices.Contains(c.o.Tools, name)
}

// instructions are those of the loop and of the chosen toolsets.
func (c *chosen) instructions() string {
	text := Instructions
	if c.o.Observing {
		text = ObservingInstructions
	}
	for _, set := range c.sets {
		if set.instructions != "" {
			text += "\n" + set.instructions
		}
	}
	return text
}
