package traffic

// Verdict is what a check says.
type Verdict string

// The six verdicts. Absence of evidence is never a pass.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive" // data there, but not enough of it, or capture was incomplete
	NoData       Verdict = "nodata"       // nothing matched
	Error        Verdict = "error"        // could not be evaluated
	Skipped      Verdict = "skipped"      // precondition false, muted
)

// Sign stands before a verdict where people read it; every font has it.
func (v Verdict) Sign() string {
	switch v {
	case Pass:
		return "✓"
	case Fail:
		return "✗"
	case Inconclusive:
		return "?"
	case NoData:
		return "∅"
	case Error:
		return "!"
	case Skipped:
		return "-"
	}
	return ""
}

// CheckResult is one check's verdict with its proof.
type CheckResult struct {
	Name          string     `json:"name"`
	File          string     `json:"file,omitempty"` // relative to the workspace; empty for built-in checks
	Line          int        `json:"line,omitempty"` // from 1
	Builtin       bool       `json:"builtin,omitempty"`
	Group         string     `json:"group,omitempty"` // value of the check's by: key, one result a group
	On            string     `json:"on"`
	Expect        string     `json:"expect"`
	Severity      string     `json:"severity"` // error gates, warning does not
	Verdict       Verdict    `json:"verdict"`
	Reason        string     `json:"reason"`         // one sentence, names the services and the figures
	N             int        `json:"n"`              // rows that on selected
	Unit          string     `json:"unit,omitempty"` // calls or connections
	Terms         []Term     `json:"terms,omitempty"`
	Evidence      []Evidence `json:"evidence,omitempty"` // gravest first, cut to the first few
	EvidenceTotal int        `json:"evidence_total,omitempty"`
	Loss          string     `json:"loss,omitempty"`        // what was lost that this check could have seen
	Vacuous       []string   `json:"vacuous,omitempty"`     // terms that hold because no row has the field: "0 of 812 retried"
	Basis         string     `json:"basis,omitempty"`       // exact, single-run, …
	NeedMore      int        `json:"need_more,omitempty"`   // samples that would decide it
	Quarantined   string     `json:"quarantined,omitempty"` // until when, by whom and why its failure does not gate
	Plots         []Plot     `json:"plots,omitempty"`       // of the terms that are numbers
}

// Term is one aggregate of an expectation with its estimate.
type Term struct {
	Text  string `json:"text"`  // p95(latency)
	Value string `json:"value"` // "96 ms"
	Low   string `json:"low,omitempty"`
	High  string `json:"high,omitempty"`
	N     int    `json:"n"`
	Exact bool   `json:"exact,omitempty"`
}

// Plot is what a drawing of a term shows: its samples along an axis, the estimate with its interval, and what it is compared with.
type Plot struct {
	Term       string   `json:"term"`           // its text
	Unit       string   `json:"unit,omitempty"` // ns, or none
	From       float64  `json:"from"`           // the axis
	To         float64  `json:"to"`
	Log        bool     `json:"log,omitempty"`  // equal lengths of the axis are equal ratios
	Bins       []int    `json:"bins,omitempty"` // known samples in equal lengths of the axis; none where there are too few
	Value      float64  `json:"value"`
	Low        *float64 `json:"low,omitempty"` // of the interval; none where it has no end
	High       *float64 `json:"high,omitempty"`
	Confidence bool     `json:"confidence,omitempty"` // the interval is one of confidence, not of what is left open
	Bounds     []Bound  `json:"bounds,omitempty"`     // constants that the check compares it with
}

// Bound is one side of a comparison.
type Bound struct {
	Operator string  `json:"operator"` // <, <=, >, >=, == or != between the term and the value
	Value    float64 `json:"value"`
}

// Evidence is one call or connection that a verdict rests on.
type Evidence struct {
	Call       string      `json:"call,omitempty"` // Call.ID
	Connection uint64      `json:"conn_id"`
	Packets    PacketRange `json:"packets"` // in the snapshot, as Wireshark numbers them
	Summary    string      `json:"summary"` // "cart → catalogue GET /items 503 in 12 ms, attempt 3 of 3 (untrusted text redacted)"
}

// Iteration is one turn of the loop, and the answer of `run`, `wait`, `loop_run` and `verdict_get`.
type Iteration struct {
	ID       string            `json:"id"`                // i12
	Revision string            `json:"revision"`          // r7
	Builds   map[string]string `json:"builds"`            // service → build
	Changed  []string          `json:"changed,omitempty"` // services restarted in this iteration
	Trigger  string            `json:"trigger"`           // save, run, start, window
	Files    []string          `json:"files,omitempty"`   // what was saved, relative to the workspace
	Phase    string            `json:"phase"`             // where it is, or where it stopped: build, deploy, exercise, seal, dissect, judge, done
	State    string            `json:"state"`             // running, done, cancelled, failed
	Verdict  Verdict           `json:"verdict,omitempty"`
	Checks   []CheckResult     `json:"checks,omitempty"`
	WireDiff *WireDiff         `json:"wire_diff,omitempty"`      // what its revision does otherwise than the last one that passed
	Reruns   int               `json:"reruns,omitempty"`         // how often the exercise was run again for checks that needed more data
	FirstEnd int64             `json:"first_ended_ns,omitempty"` // where there were reruns: the end of the window that all other checks speak of
	Failure  *Failure          `json:"failure,omitempty"`        // why it ended before a verdict
	Exercise *ExerciseResult   `json:"exercise,omitempty"`
	Snapshot string            `json:"snapshot,omitempty"` // ID of the sealed packets
	Account  *Account          `json:"account,omitempty"`
	Calls    int               `json:"calls"`
	Ledger   []PhaseTime       `json:"ledger"`
	Started  int64             `json:"started_ns"`
	Ended    int64             `json:"ended_ns,omitempty"`
	Source   string            `json:"source"` // tap, afpacket, none: what captured
	Warnings []string          `json:"warnings,omitempty"`
	Events   []ClusterEvent    `json:"events,omitempty"` // what went wrong in the cluster meanwhile; its snapshot has the rest
	ExitCode int               `json:"exit_code"`
}

// Failure says what stopped an iteration before its verdict.
type Failure struct {
	Phase   string `json:"phase"`
	Service string `json:"service,omitempty"`
	What    string `json:"what"`
	Output  string `json:"output,omitempty"` // compiler output, log's tail; cut
	Hint    string `json:"hint,omitempty"`   // next command to type
}

// PhaseTime is one line of the time ledger.
type PhaseTime struct {
	Phase  string `json:"phase"`
	NS     int64  `json:"ns"`
	Detail string `json:"detail,omitempty"`
}

// ExerciseResult says how the exercise went, apart from what the checks say.
type ExerciseResult struct {
	Name     string       `json:"name"`
	Steps    []StepResult `json:"steps"`
	ExitCode int          `json:"exit_code"` // of the command, when it is one
}

// StepResult is one step of an exercise.
type StepResult struct {
	Step     string         `json:"step"`
	Sent     int            `json:"sent,omitempty"`   // requests
	Errors   int            `json:"errors,omitempty"` // requests that got no response
	Status   map[string]int `json:"status,omitempty"` // status → count
	ExitCode int            `json:"exit_code"`
	Output   string         `json:"output,omitempty"` // the tail
	NS       int64          `json:"ns"`
}
