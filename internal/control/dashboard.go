package control

import "github.com/devloop-io/devloop/traffic"

// What the dashboard asks beside what others ask too.
var (
	OpenDashboard  = Method[struct{}, DashboardOpened]{"dashboard"}
	ListIterations = Method[IterationsRequest, IterationsAnswer]{"iterations"}
)

// DashboardOpened is an address that opens the dashboard once. What follows its # is for the page alone: browsers send it to nobody.
type DashboardOpened struct {
	URL     string `json:"url"`
	Seconds int    `json:"seconds" jsonschema:"how long it can be opened"`
}

// IterationsRequest asks for the iterations that are kept.
type IterationsRequest struct {
	Limit int `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
}

// IterationsAnswer is the iterations that are kept in short, newest first, the running one included.
type IterationsAnswer struct {
	Iterations []IterationInfo `json:"iterations"`
	Total      int             `json:"total"`
}

// IterationInfo is one iteration in short; "verdict" tells all of it.
type IterationInfo struct {
	ID       string                  `json:"id"`
	Revision string                  `json:"revision"`
	Changed  []string                `json:"changed,omitempty" jsonschema:"services restarted in it"`
	Trigger  string                  `json:"trigger" jsonschema:"save, run, start or window"`
	Files    []string                `json:"files,omitempty" jsonschema:"what was saved"`
	Phase    string                  `json:"phase"`
	State    string                  `json:"state" jsonschema:"running, done, cancelled or failed"`
	Verdict  traffic.Verdict         `json:"verdict,omitempty"`
	Verdicts map[traffic.Verdict]int `json:"verdicts" jsonschema:"checks by verdict"`
	Failing  []string                `json:"failing,omitempty" jsonschema:"names of the checks that failed, at most 5"`
	Failure  string                  `json:"failure,omitempty" jsonschema:"why it ended before a verdict"`
	Changes  int                     `json:"wire_changes,omitempty" jsonschema:"differences on the wire from the revision that passed before"`
	Snapshot string                  `json:"snapshot,omitempty"`
	Calls    int                     `json:"calls"`
	Ledger   []traffic.PhaseTime     `json:"ledger"`
	Started  int64                   `json:"started_ns"`
	Ended    int64                   `json:"ended_ns,omitempty"`
}
