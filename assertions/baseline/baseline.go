package baseline

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/stat"
)

// Version is the version of the text's form that this code reads and writes.
const Version = 1

// Baseline is several runs of the same code together.
type Baseline struct {
	Version     int             `yaml:"version"`
	Name        string          `yaml:"name"`
	Exercise    string          `yaml:"exercise,omitempty"`
	Environment string          `yaml:"environment,omitempty"` // local, kind or cluster
	Commit      string          `yaml:"commit,omitempty"`      // of git, with + when files were changed
	Recorded    string          `yaml:"recorded,omitempty"`    // the day
	Runs        int             `yaml:"runs"`
	Host        Host            `yaml:"host"`
	Entries     Counts          `yaml:"entries"` // calls that nothing inside of the system caused, by run
	Accepted    []Acceptance    `yaml:"accepted,omitempty"`
	Edges       []EdgeFacts     `yaml:"edges"`
	Endpoints   []EndpointFacts `yaml:"endpoints"`

	loss []string // what the capture of its runs lacks; never written
}

// Acceptance is one change that somebody took over into the baseline.
type Acceptance struct {
	Day    string   `yaml:"day"`
	Reason string   `yaml:"reason"`
	What   []string `yaml:"what"`
}

// EdgeFacts are what the runs say of one edge. Counts are by run, over the runs that have it.
type EdgeFacts struct {
	Name    string   `yaml:"edge"`
	Of      int      `yaml:"of_runs,omitempty"` // where it was accepted later: the runs that could have had it
	Outside bool     `yaml:"outside,omitempty"`
	Calls   Counts   `yaml:"calls"`
	Reused  Counts   `yaml:"reused"`
	TLS     SetFacts `yaml:"tls,omitempty"`
}

// EndpointFacts are what the runs say of one endpoint.
type EndpointFacts struct {
	Name            string              `yaml:"call"`
	Edge            string              `yaml:"edge"`
	Of              int                 `yaml:"of_runs,omitempty"` // as in EdgeFacts
	Calls           Counts              `yaml:"calls"`
	Outcomes        map[string]Presence `yaml:"outcomes"`
	Errors          Counts              `yaml:"errors,omitempty"`
	Retries         Counts              `yaml:"retries,omitempty"`
	Latency         Latency             `yaml:"latency_ms,omitempty"`
	Sizes           Numbers             `yaml:"response_sizes,omitempty,flow"`
	Causes          map[string]Cause    `yaml:"causes,omitempty"`
	RequestHeaders  SetFacts            `yaml:"request_headers,omitempty"`
	ResponseHeaders SetFacts            `yaml:"response_headers,omitempty"`
	RequestFields   SetFacts            `yaml:"request_fields,omitempty"`
	ResponseFields  SetFacts            `yaml:"response_fields,omitempty"`
	Credentials     SetFacts            `yaml:"credentials,omitempty"`
	RetryWaits      SetFacts            `yaml:"retry_waits,omitempty"`
}

// Latency is how long whole answers took, in milliseconds.
type Latency struct {
	Calls   int     `yaml:"calls"`
	Medians Numbers `yaml:"medians,flow"`         // of each run
	Sample  Numbers `yaml:"sample,flow"`          // evenly spaced quantiles of all runs together
	Tails   Numbers `yaml:"tails,omitempty,flow"` // what a tenth of the calls of each run took longer than, where a run has enough of them
	Skewed  int     `yaml:"skewed,omitempty"`
}

// IsZero reports whether no answer was timed.
func (l Latency) IsZero() bool { return l.Calls == 0 && l.Skewed == 0 }

// Cause is how many calls of another endpoint serving this one caused.
type Cause struct {
	Calls  int `yaml:"calls"`
	Unsure int `yaml:"unsure,omitempty"` // that several calls could have caused
	Of     int `yaml:"of"`               // calls of this endpoint
	Least  int `yaml:"least"`            // by one call
	Most   int `yaml:"most"`
}

// SetFacts are set-like facts: what is there always, sometimes, or, by not standing here, never.
type SetFacts struct {
	Of    Presence            `yaml:"of"`
	Items map[string]Presence `yaml:"has,omitempty"`
}

// IsZero reports whether there was no call that could have had any.
func (s SetFacts) IsZero() bool { return s.Of.Calls == 0 }

// What a baseline keeps at most.
const (
	MostRuns      = 60
	writtenPoints = 60   // of a latency sample, in the text
	keptPoints    = 2000 // of one in memory
	sizePoints    = 11
)

// Meta is what a baseline says of itself beyond its runs.
type Meta struct {
	Name, Exercise, Environment, Commit, Recorded string
	Host                                          Host
}

// New puts runs of the same code together, in the order in which they were made.
func New(m Meta, runs []*Run) (*Baseline, error) {
	if len(runs) == 0 {
		return nil, errors.New("a baseline needs at least one run")
	}
	if extra := len(runs) - MostRuns; extra > 0 {
		runs = runs[extra:]
	}
	b := &Baseline{Version: Version, Name: m.Name, Exercise: m.Exercise, Environment: m.Environment, Commit: m.Commit, Recorded: m.Recorded,
		Host: m.Host, Runs: len(runs)}
	edges, endpoints := map[string]*EdgeFacts{}, map[string]*gathered{}
	for _, r := range runs {
		b.Entries = append(b.Entries, r.Entries)
		if r.Loss != "" {
			b.loss = append(b.loss, r.ID+": "+r.Loss)
		}
		for name, e := range r.Edges {
			f := edges[name]
			if f == nil {
				f = &EdgeFacts{Name: name}
				edges[name] = f
			}
			f.Outside = f.Outside || e.Outside
			f.Calls, f.Reused = append(f.Calls, e.Calls), append(f.Reused, e.Reused)
			f.TLS.add(e.TLS)
		}
		for name, e := range r.Endpoints {
			g := endpoints[name]
			if g == nil {
				g = &gathered{EndpointFacts: EndpointFacts{Name: name, Edge: e.Edge, Outcomes: map[string]Presence{}}}
				endpoints[name] = g
			}
			g.add(e)
		}
	}
	for _, name := range sortedKeys(edges) {
		b.Edges = append(b.Edges, *edges[name])
	}
	for _, name := range sortedKeys(endpoints) {
		b.Endpoints = append(b.Endpoints, endpoints[name].finish())
	}
	return b, nil
}

// gathered is an endpoint while its runs are put together.
type gathered struct {
	EndpointFacts
	sample, sizes []float64
}

func (g *gathered) add(e *Endpoint) {
	g.Calls, g.Errors, g.Retries = append(g.Calls, e.Calls), append(g.Errors, e.Errors), append(g.Retries, e.Retries)
	for outcome, n := range e.Outcomes {
		p := g.Outcomes[outcome]
		g.Outcomes[outcome] = Presence{p.Calls + n, p.Runs + 1}
	}
	g.Latency.Calls += len(e.Latencies)
	g.Latency.Skewed += e.Skewed
	if len(e.Latencies) > 0 {
		g.Latency.Medians = append(g.Latency.Medians, stat.Median(e.Latencies))
	}
	if n := len(e.Latencies); n >= tailCalls {
		g.Latency.Tails = append(g.Latency.Tails, e.Latencies[stat.QuantileRank(n, tailQuantile)-1])
	}
	g.sample, g.sizes = append(g.sample, e.Latencies...), append(g.sizes, e.Sizes...)
	for i, set := range []*SetFacts{&g.RequestHeaders, &g.ResponseHeaders, &g.RequestFields, &g.ResponseFields, &g.Credentials, &g.RetryWaits} {
		set.add(e.Sets[i])
	}
	for child, x := range e.Children {
		if g.Causes == nil {
			g.Causes = map[string]Cause{}
		}
		c, known := g.Causes[child]
		if !known {
			c.Least = math.MaxInt
		}
		g.Causes[child] = Cause{c.Calls + x.Calls, c.Unsure + x.Unsure, c.Of, min(c.Least, x.Least), max(c.Most, x.Most)}
	}
	for child, c := range g.Causes {
		if e.Children[child] == nil {
			c.Least = 0
		}
		g.Causes[child] = c
	}
}

func (s *SetFacts) add(run Set) {
	if run.Of == 0 {
		return
	}
	s.Of = Presence{s.Of.Calls + run.Of, s.Of.Runs + 1}
	for name, n := range run.Items {
		if s.Items == nil {
			s.Items = map[string]Presence{}
		}
		p := s.Items[name]
		s.Items[name] = Presence{p.Calls + n, p.Runs + 1}
	}
}

func (g *gathered) finish() EndpointFacts {
	slices.Sort(g.sample)
	slices.Sort(g.sizes)
	g.Latency.Sample, g.Sizes = stat.Thin(g.sample, keptPoints), stat.Thin(g.sizes, sizePoints)
	for child, c := range g.Causes {
		c.Of = g.Calls.Sum()
		g.Causes[child] = c
	}
	return g.EndpointFacts
}

// Incomplete says what the capture of the runs lacks; it is empty for what was read from text.
func (b *Baseline) Incomplete() string { return strings.Join(b.loss, "; ") }

// always reports whether each of the runs that could have had an edge or endpoint has it.
func (b *Baseline) always(counts Counts, of int) bool { return len(counts) == cmp.Or(of, b.Runs) }

// Endpoint finds an endpoint by its name.
func (b *Baseline) Endpoint(name string) (*EndpointFacts, bool) {
	i, ok := slices.BinarySearchFunc(b.Endpoints, name, func(e EndpointFacts, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return nil, false
	}
	return &b.Endpoints[i], true
}

// Edge finds an edge by its name.
func (b *Baseline) Edge(name string) (*EdgeFacts, bool) {
	i, ok := slices.BinarySearchFunc(b.Edges, name, func(e EdgeFacts, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return nil, false
	}
	return &b.Edges[i], true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
