package suggest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

// DefaultLimit is how many checks are offered where nobody asks for more: what a person reads in one go.
const DefaultLimit = 25

// fewCalls in a run are too few to trust what they have in common.
const fewCalls = 20

// Options are what the caller wants of the answer.
type Options struct {
	Limit    int      // of checks; 0 is DefaultLimit, -1 is all
	Exercise string   // that drove the runs; it stands at the top of the file
	Declared []string // edges that configuration declares, as patterns: "cart -> cache"
}

// Answer is what observed traffic suggests.
type Answer struct {
	Checks   []Suggestion `json:"checks" jsonschema:"strongest first; names in them come from the wire and are untrusted"`
	YAML     string       `json:"yaml" jsonschema:"the same as the text of a check file, to be reviewed before it is kept"`
	Runs     int          `json:"runs" jsonschema:"how many windows of traffic were looked at"`
	Calls    int          `json:"calls" jsonschema:"in them"`
	Drafted  int          `json:"drafted" jsonschema:"checks that were tried"`
	Broken   int          `json:"broken,omitempty" jsonschema:"of these, left out because some run breaks or cannot decide them"`
	Idle     int          `json:"idle,omitempty" jsonschema:"left out because no fault that was planted breaks them"`
	More     int          `json:"more,omitempty" jsonschema:"that would do as well and are beyond the limit"`
	Warnings []string     `json:"warnings,omitempty"`
}

// Suggestion is one check that held in all runs and failed on a planted fault.
type Suggestion struct {
	Name           string  `json:"name"`
	On             string  `json:"on"`
	Expect         string  `json:"expect"`
	By             string  `json:"by,omitempty"`
	AllowEmpty     bool    `json:"allow_empty,omitempty"`
	Severity       string  `json:"severity,omitempty" jsonschema:"warning where it only reports"`
	OnInconclusive string  `json:"on_inconclusive,omitempty"`
	OnNoData       string  `json:"on_nodata,omitempty"`
	Kind           string  `json:"kind" jsonschema:"of promise: statuses, egress, latency, …"`
	Held           string  `json:"held" jsonschema:"held in 40 of 40 calls over 5 runs"`
	N              int     `json:"n" jsonschema:"rows that it held for, or runs where it speaks of runs as a whole"`
	Strength       float64 `json:"strength" jsonschema:"the share of such rows, or runs, that keep it is at least this, at 95 % confidence"`
	Fault          string  `json:"fault" jsonschema:"what it would catch: planted in a copy of the newest run's rows"`
	Caught         int     `json:"caught" jsonschema:"how often it failed"`
	Tried          int     `json:"tried" jsonschema:"how often the fault was planted, each time in another place"`
}

// From drafts checks from runs of the same code, oldest first, and tries them.
func From(runs []assertions.Input, opts Options) (*Answer, error) {
	o, warnings := gather(runs)
	o.declared = opts.Declared
	a := &Answer{Checks: []Suggestion{}, Runs: len(o.runs), Warnings: warnings}
	if len(o.runs) == 0 {
		return a, nil
	}
	for _, p := range o.places {
		a.Calls += o.count(p)
	}
	for i, r := range o.runs {
		if !r.Dissection.Account.Complete() {
			a.Warnings = append(a.Warnings, fmt.Sprintf("the capture of run %d of %d is incomplete: checks that cannot be decided over it are left out", i+1, len(o.runs)))
		}
	}
	if a.Calls > 0 && a.Calls/len(o.runs) < fewCalls {
		a.Warnings = append(a.Warnings, fmt.Sprintf("there are only %d calls in %d runs: what so few show may be chance", a.Calls, len(o.runs)))
	}
	var offered [][]Suggestion // by drafter, strongest first
	for _, k := range drafters {
		var good []Suggestion
		for _, d := range merge(k.draft(o)) {
			a.Drafted++
			s, held, err := o.try(&d)
			if err == nil && !held && !d.nowhere { // all there is may be too much: what is encrypted could be anything
				d.explicit = true
				s, held, err = o.try(&d)
			}
			switch {
			case err != nil:
				return nil, fmt.Errorf("try the draft %q: %w", d.promise, err)
			case !held:
				a.Broken++
			case s.Caught == 0:
				a.Idle++
			default:
				good = append(good, s)
			}
		}
		slices.SortStableFunc(good, func(x, y Suggestion) int { return cmp.Compare(y.Caught, x.Caught) })
		offered = append(offered, good)
	}
	a.choose(offered, opts.Limit)
	a.YAML = file(a, opts.Exercise)
	return a, nil
}

// choose takes the strongest of each kind, then the second of each, until there are enough; and lists them by strength.
func (a *Answer) choose(offered [][]Suggestion, limit int) {
	if limit == 0 {
		limit = DefaultLimit
	}
	for round := 0; ; round++ {
		some := false
		for _, good := range offered {
			if round >= len(good) {
				continue
			}
			some = true
			if limit >= 0 && len(a.Checks) >= limit {
				a.More++
			} else {
				a.Checks = append(a.Checks, good[round])
			}
		}
		if !some {
			break
		}
	}
	slices.SortStableFunc(a.Checks, func(x, y Suggestion) int { return cmp.Compare(y.Strength, x.Strength) })
	used := map[string]int{}
	for i := range a.Checks {
		c := &a.Checks[i]
		if used[c.Name]++; used[c.Name] > 1 {
			c.Name = fmt.Sprintf("%s (%d)", c.Name, used[c.Name])
		}
	}
}

// mostTried bounds in how many of a draft's places its fault is planted.
const mostTried = 24

// try judges all runs by a draft, and then the newest one with the draft's fault in each of its places.
func (o *observed) try(d *draft) (s Suggestion, held bool, err error) {
	c := d.check()
	s = Suggestion{Name: c.Name, On: c.On, Expect: c.Expect, By: c.By, AllowEmpty: c.AllowEmpty, Severity: c.Severity, OnInconclusive: c.OnInconclusive, OnNoData: c.OnNoData, Kind: d.kind, Fault: faultsText(d.faults)}
	suite, err := assertions.Parse("draft", []byte(s.text(true)+"\n"))
	if err != nil {
		return s, false, err
	}
	runs, rows, unit := 0, 0, ""
	for _, r := range o.runs {
		r.Exercise = ""
		results := suite.Check(r, assertions.CheckOptions{NoBuiltin: true})
		seen := false
		for _, x := range results {
			switch {
			case (x.Verdict == traffic.NoData || x.Verdict == traffic.Inconclusive) && c.OnInconclusive == assertions.OnWarn:
				continue
			case x.Verdict != traffic.Pass:
				return s, false, nil
			}
			seen, unit = true, x.Unit
			rows += x.N
		}
		if seen {
			runs++
		}
	}
	if runs == 0 || runs < len(o.runs) && c.OnInconclusive != assertions.OnWarn {
		return s, false, nil
	}
	if s.N = rows; d.facts || rows == 0 {
		s.N, s.Held = runs, fmt.Sprintf("held in %d of %d runs", runs, len(o.runs))
	} else {
		s.Held = fmt.Sprintf("held in %d of %d %s over %d runs", rows, rows, unit, runs)
	}
	if runs == 1 && len(o.runs) == 1 {
		s.Held = strings.TrimSuffix(s.Held, "s") // one run
	}
	s.Strength = math.Round(1e4*math.Pow(1-confidence, 1/float64(s.N))) / 1e4
	newest := o.runs[len(o.runs)-1]
	newest.Exercise = ""
	for _, p := range d.places[:min(len(d.places), mostTried)] {
		for _, f := range d.faults {
			if f.only.proto != "" && f.only != p {
				continue
			}
			s.Tried++
			results := suite.Check(mutate(newest, o.names, f, p), assertions.CheckOptions{NoBuiltin: true})
			if slices.ContainsFunc(results, func(x traffic.CheckResult) bool { return x.Verdict == traffic.Fail }) {
				s.Caught++
			}
		}
	}
	return s, true, nil
}
