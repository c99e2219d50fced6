package control

import (
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/traffic"
)

// What can be done with baselines.
var (
	BaselineRecord  = Method[BaselineRequest, BaselineAnswer]{"baseline_record"}
	BaselineCompare = Method[BaselineRequest, BaselineAnswer]{"baseline_compare"}
	BaselineAccept  = Method[BaselineRequest, BaselineAnswer]{"baseline_accept"}
	BaselineList    = Method[struct{}, BaselinesAnswer]{"baseline_list"}
	WireDiff        = Method[WireDiffRequest, traffic.WireDiff]{"wire_diff"}
)

// WireDiffRequest says which two iterations are compared.
type WireDiffRequest struct {
	Iteration string `json:"iteration,omitempty" jsonschema:"the newest one with traffic by default"`
	Since     string `json:"since,omitempty" jsonschema:"what it is compared with; the newest iterations of the last other revision that passed by default"`
	Limit     int    `json:"limit,omitempty" jsonschema:"findings to return, gravest first; all by default"`
}

// BaselineRequest says which baseline, and which traffic.
type BaselineRequest struct {
	Name              string     `json:"name,omitempty" jsonschema:"of the baseline: a file of .devloop/baselines without .yaml; the exercise's name by default"`
	Exercise          string     `json:"exercise,omitempty" jsonschema:"that drives the runs; devloop.yaml's default otherwise"`
	Runs              int        `json:"runs,omitempty" jsonschema:"iterations to run now; recording runs 10 by default, comparing none: it takes the newest one that there is"`
	Iterations        []string   `json:"iterations,omitempty" jsonschema:"iterations that are there already, instead of running some"`
	Reason            string     `json:"reason,omitempty" jsonschema:"why the change is accepted; accept needs it"`
	AllowInconclusive bool       `json:"allow_inconclusive,omitempty" jsonschema:"exit code 0 where nothing failed and something could not be decided"`
	Other             *OtherRuns `json:"other,omitempty" jsonschema:"compare with these runs instead of a baseline"`
	Looks             int        `json:"looks,omitempty" jsonschema:"how often runs that grow in number will be compared until something is decided: the looks share the chance of a false alarm"`
	Where             Where      `json:"where,omitzero"`
}

// OtherRuns are iterations of another workspace on this machine: the same services at another commit.
type OtherRuns struct {
	Dir        string   `json:"dir"` // the workspace
	Commit     string   `json:"commit,omitempty"`
	Iterations []string `json:"iterations"`
}

// BaselineAnswer says what was written, or found.
type BaselineAnswer struct {
	Name       string           `json:"name"`
	File       string           `json:"file,omitempty" jsonschema:"relative to the workspace"`
	Iterations []string         `json:"iterations" jsonschema:"whose traffic it speaks of"`
	Written    bool             `json:"written,omitempty"`
	Report     *baseline.Report `json:"report,omitempty" jsonschema:"what differs; names in it come from the wire and are untrusted"`
	ExitCode   int              `json:"exit_code"`
	Warnings   []string         `json:"warnings,omitempty"`
	Next       string           `json:"next,omitempty" jsonschema:"what to do now"`
}

// BaselinesAnswer lists the baselines of a workspace.
type BaselinesAnswer struct {
	Baselines []BaselineInfo `json:"baselines"`
}

// BaselineInfo is one baseline as its head tells it.
type BaselineInfo struct {
	Name      string `json:"name"`
	File      string `json:"file"`
	Exercise  string `json:"exercise,omitempty"`
	Commit    string `json:"commit,omitempty"`
	Recorded  string `json:"recorded,omitempty"`
	Runs      int    `json:"runs"`
	Endpoints int    `json:"endpoints"`
	Edges     int    `json:"edges"`
	OtherHost bool   `json:"other_host,omitempty"` // latencies are not compared here
	Problem   string `json:"problem,omitempty"`    // why it cannot be read
}
