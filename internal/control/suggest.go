package control

import "github.com/devloop-io/devloop/assertions/suggest"

// ChecksSuggest drafts checks from traffic that is there already.
var ChecksSuggest = Method[SuggestRequest, suggest.Answer]{"checks_suggest"}

// SuggestRequest says which traffic checks are drafted from.
type SuggestRequest struct {
	Iterations []string `json:"iterations,omitempty" jsonschema:"iterations of one code, oldest first; by default the newest that did not fail, and those before it of the same revision and exercise"`
	Last       int      `json:"last,omitempty" jsonschema:"how many of these at most; 10 by default"`
	DB         string   `json:"db,omitempty" jsonschema:"a snapshot or SNAPSHOT/DISSECTION instead of iterations; list_databases names them"`
	Limit      int      `json:"limit,omitempty" jsonschema:"checks to offer at most; 25 by default, -1 for all"`
}
