package report

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"path"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

// The part of SARIF 2.1.0 that is written, with the names of the standard. Tests validate it with the standard's schema.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver struct {
				Name    string      `json:"name"`
				Version string      `json:"version,omitempty"`
				URI     string      `json:"informationUri"`
				Rules   []sarifRule `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		AutomationDetails struct {
			ID string `json:"id"`
		} `json:"automationDetails"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifRule struct {
		ID            string       `json:"id"`
		Name          string       `json:"name"`
		Short         sarifMessage `json:"shortDescription"`
		Full          sarifMessage `json:"fullDescription"`
		Help          sarifMessage `json:"help"`
		Configuration struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		ExitCode      int                 `json:"exitCode"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
	sarifResult struct {
		Rule         string            `json:"ruleId"`
		Index        int               `json:"ruleIndex"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifMessage      `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Suppressions []sarifSuppressed `json:"suppressions,omitempty"`
		Properties   map[string]any    `json:"properties"`
	}
	sarifSuppressed struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI  string `json:"uri"`
				Base string `json:"uriBaseId"`
			} `json:"artifactLocation"`
			Region struct {
				StartLine int `json:"startLine"`
			} `json:"region"`
		} `json:"physicalLocation"`
	}
)

// sarif writes a result for every check. What is inconclusive is of kind open: the standard's word for "could not be told".
func sarif(w io.Writer, r *Report) error {
	it := r.Iteration
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver.Name, run.Tool.Driver.Version, run.Tool.Driver.URI = "devloop", r.Version, "https://devloop.dev"
	run.Tool.Driver.Rules = []sarifRule{}
	run.AutomationDetails.ID = "devloop/" + it.ID
	invocation := sarifInvocation{Successful: it.Failure == nil, ExitCode: it.ExitCode}
	if text := failure(it); text != "" {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"error", sarifMessage{text}})
	}
	for _, warning := range it.Warnings {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"warning", sarifMessage{warning}})
	}
	run.Invocations = []sarifInvocation{invocation}
	index := map[string]int{}
	for _, c := range r.told() {
		id := ruleID(c)
		i, ok := index[id]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			index[id] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleOf(id, c))
		}
		run.Results = append(run.Results, r.sarifResult(id, i, c))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// ruleID is a check's stable name: its file and its own; the name alone where it has no file of its own.
func ruleID(c *traffic.CheckResult) string {
	if c.Builtin {
		return c.Name
	}
	return strings.TrimSuffix(path.Base(c.File), ".netcheck.yaml") + "/" + c.Name
}

func ruleOf(id string, c *traffic.CheckResult) sarifRule {
	rule := sarifRule{
		ID: id, Name: c.Name, Short: sarifMessage{c.Name}, Full: sarifMessage{"on " + oneLine(c.On) + " expect " + oneLine(c.Expect)},
		Help: sarifMessage{fmt.Sprintf("devloop explain %q shows what the verdict rests on.", c.Name)},
	}
	rule.Configuration.Level = "error"
	if c.Severity == assertions.SeverityWarning {
		rule.Configuration.Level = "warning"
	}
	return rule
}

func (r *Report) sarifResult(id string, index int, c *traffic.CheckResult) sarifResult {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", id, c.Group)
	s := sarifResult{
		Rule: id, Index: index, Kind: "fail", Level: "error", Message: sarifMessage{string(c.Verdict) + ": " + c.Reason},
		Fingerprints: map[string]string{"devloopCheck/v1": fmt.Sprintf("%016x", h.Sum64())},
		Properties:   map[string]any{"verdict": c.Verdict, "n": c.N, "unit": c.Unit, "revision": r.Iteration.Revision, "iteration": r.Iteration.ID},
	}
	if len(c.Evidence) > 0 {
		var list []string
		for _, e := range c.Evidence {
			list = append(list, e.Summary)
		}
		s.Properties["evidence"] = list
	}
	switch c.Verdict {
	case traffic.Pass:
		s.Kind, s.Level = "pass", "none"
	case traffic.Skipped:
		s.Kind, s.Level = "notApplicable", "none"
	case traffic.Inconclusive, traffic.NoData, traffic.Error:
		s.Kind, s.Level = "open", "none" // a level is for results of kind fail alone
	default:
		if c.Severity == assertions.SeverityWarning {
			s.Level = "warning"
		}
	}
	if c.File != "" {
		var l sarifLocation
		l.Physical.Artifact.URI, l.Physical.Artifact.Base = r.path(c.File), "%SRCROOT%"
		l.Physical.Region.StartLine = max(1, c.Line)
		s.Locations = []sarifLocation{l}
	}
	return s
}
