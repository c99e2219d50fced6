package assertions

import (
	"path"
	"slices"
	"time"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// Severities of a check.
const (
	SeverityError   = "error"   // gates
	SeverityWarning = "warning" // is reported, and gates nothing
)

// DefaultConfidence is the one-sided confidence of estimates where a check does not ask for another.
const DefaultConfidence = 0.95

// Suite is the checks of some files, compiled.
type Suite struct {
	checks []*check
	mutes  map[string]string // built-in rule → why it is muted
	parser *Parser           // remembers what was compiled before, nil for none
}

// check is one compiled check.
type check struct {
	spec     Check
	file     string
	line     int
	exercise string
	on       *filter.Filter
	expect   *expectation
	by       *rowExpression
	rerun    *Rerun    // nil where inconclusive is the last word
	ends     time.Time // of its quarantine, the first moment after it
	kind     filter.Kind
	unit     string
	back     bool // on mentions background, so background rows are not left out
	scope    scope
}

// CheckOptions are what a caller may turn off.
type CheckOptions struct {
	NoBuiltin bool
	Profile   string   // of the configuration: agent, or the default one
	Only      []string // names of checks to evaluate, or globs; all where empty. Built-in checks are named builtin/…
}

// Check judges a window and returns a result for every check, or for every group of it, in the order of the files;
// the built-in checks come last. The same input gives the same output, byte for byte.
func (s *Suite) Check(in Input, o CheckOptions) []traffic.CheckResult {
	w := newWorld(in)
	results := []traffic.CheckResult{}
	for _, c := range s.checks {
		if o.wants(c.spec.Name) {
			results = append(results, c.judge(w)...)
		}
	}
	if !o.NoBuiltin {
		for _, b := range builtins() {
			if o.wantsBuiltin(b) {
				results = append(results, b.judge(w, s.mutes[b.name]))
			}
		}
	}
	return results
}

// Unknown are the names and globs that no check of the suite and no built-in one answers to: asked for one of these,
// [Suite.Check] would judge nothing, and nothing looks like success.
func (s *Suite) Unknown(only []string) []string {
	names := s.Names()
	for _, b := range builtins() {
		names = append(names, b.name)
	}
	var unknown []string
	for _, pattern := range only {
		if !slices.ContainsFunc(names, (CheckOptions{Only: []string{pattern}}).wants) {
			unknown = append(unknown, pattern)
		}
	}
	return unknown
}

// wants reports whether a check is to be evaluated.
func (o CheckOptions) wants(name string) bool {
	if len(o.Only) == 0 {
		return true
	}
	for _, pattern := range o.Only {
		if matched, err := path.Match(pattern, name); pattern == name || err == nil && matched {
			return true
		}
	}
	return false
}

// Names are the names of the suite's checks, in the order of the files, without the built-in ones.
func (s *Suite) Names() []string {
	var all []string
	for _, c := range s.checks {
		all = append(all, c.spec.Name)
	}
	return all
}

// Exercises are the exercises that the suite's checks ask for, in the order of the files.
func (s *Suite) Exercises() []string {
	var all []string
	seen := map[string]bool{"": true}
	for _, c := range s.checks {
		if !seen[c.exercise] {
			seen[c.exercise] = true
			all = append(all, c.exercise)
		}
	}
	return all
}

// kindOf says which rows a check speaks of. Where on selects both kinds, the fields that expect reads decide; where those
// do not either, connections: every call lies on one.
func kindOf(on *filter.Filter, x *expectation) filter.Kind {
	kind := on.Kind()
	if kind != filter.Both {
		return kind
	}
	read := filter.Kind(0)
	for _, name := range x.fields {
		if f, ok := filter.Lookup(name); ok && f.Rows != filter.Both {
			read |= f.Rows
		}
	}
	switch {
	case read == filter.Connections:
		return filter.Connections
	case read != 0 || x.uses("amplification", "calls_per", "fan_out", "path", "deadlines_kept", "orphan_work", "conforms"):
		return filter.Calls
	}
	return filter.Connections
}

// uses reports whether an expectation uses one of these aggregates.
func (x *expectation) uses(names ...string) bool {
	for _, t := range x.terms {
		for _, n := range names {
			if t.aggregate.name == n {
				return true
			}
		}
	}
	return false
}

// callFields are the fields of connections that count what dissection found in their streams.
var callFields = map[string]bool{"calls": true, "conn_calls": true, "window_calls": true, "mid_request_reset": true, "reused": true, "conn_l7_detected": true}

// scopeOf says which kinds of incompleteness a check would notice.
func scopeOf(on *filter.Filter, x *expectation, kind filter.Kind) scope {
	s := scope{on: on, streams: kind&filter.Calls != 0, encrypted: kind&filter.Calls != 0}
	if x.uses("reuse_ratio", "amplification") {
		s.streams, s.encrypted = true, true
	}
	fields := append([]string(nil), x.fields...)
	for _, f := range on.Fields() {
		fields = append(fields, f.Name)
	}
	for _, name := range fields {
		if callFields[name] {
			s.streams = true
		}
	}
	return s
}
