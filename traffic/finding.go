package traffic

// Kinds of [Finding].
const (
	FindingEdge       = "edge"       // who speaks to whom
	FindingEndpoint   = "endpoint"   // what is asked of whom
	FindingCalls      = "calls"      // calls per request
	FindingStatus     = "status"     // how calls end
	FindingHeader     = "header"     // names of headers
	FindingField      = "field"      // fields of JSON bodies, and their types
	FindingCredential = "credential" // kinds of secrets, and where they stand
	FindingRetry      = "retry"      // attempts beyond the first
	FindingReuse      = "reuse"      // calls that found their connection open
	FindingTLS        = "tls"        // versions of TLS, and names that clients send
	FindingLatency    = "latency"
)

// Finding is one difference, or proven lack of one, between how services spoke before and how they speak now. Its texts hold
// names from the wire, which are untrusted.
type Finding struct {
	Kind     string  `json:"kind"`                  // edge, endpoint, calls, status, header, field, credential, retry, reuse, tls, latency
	Where    string  `json:"where"`                 // "cart -> catalogue:8080 GET /items/{id}"
	What     string  `json:"what"`                  // one sentence with the figures
	Verdict  Verdict `json:"verdict"`               // fail: it changed for the worse · pass · inconclusive · skipped: it could not be compared
	Old      string  `json:"old,omitempty"`         //
	New      string  `json:"new,omitempty"`         //
	Effect   float64 `json:"effect,omitempty"`      // as a share: 0.2 is 20 % more
	Low      float64 `json:"low,omitempty"`         // of Effect, where it has an interval
	High     float64 `json:"high,omitempty"`        //
	P        float64 `json:"p,omitempty"`           // of its test; none where a fact decides
	Holm     float64 `json:"p_holm,omitempty"`      // the same, adjusted over all tests that gate
	Q        float64 `json:"q,omitempty"`           // the same, by Benjamini and Hochberg, for reading a list
	OldN     int     `json:"old_n"`                 // calls, or runs where Basis is runs
	NewN     int     `json:"new_n"`                 //
	Basis    string  `json:"basis,omitempty"`       // exact, requests: calls are taken as independent, runs: each run counts once
	NeedMore int     `json:"need_more,omitempty"`   // of the new ones, that would decide it
	Improved bool    `json:"improvement,omitempty"` // it changed for the better

	Evidence []Evidence `json:"evidence,omitempty"` // calls that show it, gravest first, cut to the first few
	File     string     `json:"file,omitempty"`     // a changed file of the service at fault, relative to the workspace, where git tells
	Line     int        `json:"line,omitempty"`     // of the change in it, from 1
}

// WireDiff is what changed on the wire since the last revision that passed.
type WireDiff struct {
	Since     string    `json:"since"`               // the iteration that is compared with
	Revision  string    `json:"revision"`            // what it served
	Findings  []Finding `json:"findings,omitempty"`  // gravest first, cut to the first few
	Total     int       `json:"total"`               // how many there are
	Unchanged int       `json:"unchanged,omitempty"` // endpoints without a finding
	Note      string    `json:"note,omitempty"`      // what could not be compared
}
