package control

import (
	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/traffic"
)

// ReplayRun sends recorded requests to the services as they are now, and compares the answers.
var ReplayRun = Method[ReplayRequest, ReplayAnswer]{"replay_run"}

// ReplayRequest says which requests, and how.
type ReplayRequest struct {
	Snapshot    string            `json:"snapshot_id,omitempty" jsonschema:"iteration or snapshot whose requests are sent; the newest with traffic by default"`
	KFL         string            `json:"kfl,omitempty" jsonschema:"which calls; by default the HTTP calls that nothing inside of the system caused"`
	Factor      *float64          `json:"factor,omitempty" jsonschema:"of the recorded pauses: 1 by default, 0.5 is twice as fast, 0 leaves them out"`
	Concurrency int               `json:"concurrency,omitempty" jsonschema:"requests at once at most; 8 by default"`
	All         bool              `json:"all,omitempty" jsonschema:"also methods that are not idempotent, such as POST: ask the user first"`
	Headers     map[string]string `json:"headers,omitempty" jsonschema:"for every request, instead of recorded ones: secrets such as Authorization, which rows do not hold"`
	Where       Where             `json:"where,omitzero"`
}

// ReplayAnswer says what was sent, and what is answered otherwise.
type ReplayAnswer struct {
	replay.Compared
	From      string           `json:"from" jsonschema:"whose requests they are"`
	Iteration string           `json:"iteration" jsonschema:"in which they were sent"`
	Revision  string           `json:"revision,omitempty"`
	Sent      int              `json:"sent"`
	Skipped   []replay.Skipped `json:"skipped,omitempty" jsonschema:"what could not be sent, and why"`
	Verdict   traffic.Verdict  `json:"verdict" jsonschema:"fail where something is answered otherwise, inconclusive where nothing could be sent"`
	ExitCode  int              `json:"exit_code"`
	Warnings  []string         `json:"warnings,omitempty"`
	Note      string           `json:"untrusted_note"`
}
