package devloop

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// diffRuns is how many passing iterations of the revision before are put together, when there are so many: they tell what
// differs from run to run for no reason.
const diffRuns = 5

// shownFindings bounds what an iteration's answer carries of a wire diff.
const shownFindings = 20

// wireDiff says what an iteration's revision does otherwise on the wire than the last revision that passed. It is nil where
// that is the same one, or where there is none that ran the same exercise.
func (s *Session) wireDiff(it *traffic.Iteration) (*traffic.WireDiff, error) {
	passed := s.passedBefore(it, ownEnds)
	if len(passed) == 0 || it.Snapshot == "" {
		return nil, nil
	}
	d, err := s.diffFrom(passed, it)
	if d != nil {
		d.Findings = d.Findings[:min(shownFindings, len(d.Findings))]
	}
	return d, err
}

// WireDiff says what an iteration does otherwise on the wire than another one, or than the last revision that passed.
func (s *Session) WireDiff(r control.WireDiffRequest) (*traffic.WireDiff, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	since := s.passedBefore(it, ownPassedOver)
	if r.Since != "" {
		old, err := s.sealed(r.Since)
		if err != nil {
			return nil, err
		}
		since = []*traffic.Iteration{old}
	}
	if len(since) == 0 {
		return nil, control.Usagef("devloop wire-diff --since i3 "+it.ID, fmt.Sprintf("there is nothing to compare %s with: no other revision has passed with the same exercise", it.ID))
	}
	d, err := s.diffFrom(since, it)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, control.Usagef("devloop snapshot list", fmt.Sprintf("the packets of %s are gone", since[len(since)-1].ID))
	case !sameExercise(since[len(since)-1], it):
		d.Note = strings.TrimPrefix(d.Note+"; they ran different exercises, so that what is asked may differ for that reason", "; ")
	}
	if r.Limit > 0 {
		d.Findings = d.Findings[:min(r.Limit, len(d.Findings))]
	}
	return d, nil
}

// diffFrom compares an iteration with runs before it; nil where the packets of these are gone.
func (s *Session) diffFrom(passed []*traffic.Iteration, it *traffic.Iteration) (*traffic.WireDiff, error) {
	runs := s.summaries(passed)
	now, err := s.summary(it)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	old, err := baseline.New(baseline.Meta{}, runs)
	if err != nil {
		return nil, err
	}
	present, err := baseline.New(baseline.Meta{}, []*baseline.Run{now})
	if err != nil {
		return nil, err
	}
	report := baseline.Compare(old, present, baseline.Options{Describe: true})
	last := passed[len(passed)-1]
	d := &traffic.WireDiff{Since: last.ID, Revision: last.Revision, Total: len(report.Findings), Findings: report.Findings}
	touched := map[string]bool{}
	for _, f := range report.Findings {
		touched[f.Where] = true
	}
	for _, e := range present.Endpoints {
		if !touched[e.Name] {
			d.Unchanged++
		}
	}
	if lost := now.Loss; lost != "" {
		d.Note = "the capture is incomplete, so what is missing may have been there: " + lost
	}
	return d, nil
}

// What iterations of the same revision are to whoever asks what passed before one.
type own int

const (
	ownEnds       own = iota // where the newest that passed is one of them, there is nothing
	ownPassedOver            // what passed before them is meant
	ownCounts                // they are as good as others
)

// passedBefore are the newest iterations of the last revision that passed before an iteration and ran the same; oldest first.
func (s *Session) passedBefore(it *traffic.Iteration, same own) []*traffic.Iteration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var passed []*traffic.Iteration
	for _, p := range slices.Backward(s.recent) {
		if p.Started >= it.Started || p.Verdict != traffic.Pass || p.Snapshot == "" || !sameExercise(p, it) {
			continue
		}
		if p.Revision == it.Revision && same == ownEnds {
			return nil
		}
		if p.Revision == it.Revision && same == ownPassedOver {
			continue
		}
		if len(passed) > 0 && p.Revision != passed[0].Revision || len(passed) == diffRuns {
			break
		}
		passed = append(passed, p)
	}
	slices.Reverse(passed)
	return passed
}

// lastPassed is what the newest runs of the last revision that passed showed, an iteration's own included; nil where none has
// passed with the same exercise, or their packets are gone.
func (s *Session) lastPassed(it *traffic.Iteration) *baseline.Baseline {
	b, err := baseline.New(baseline.Meta{}, s.summaries(s.passedBefore(it, ownCounts)))
	if err != nil {
		return nil
	}
	return b
}

// summaries are those of iterations whose packets are still there.
func (s *Session) summaries(its []*traffic.Iteration) []*baseline.Run {
	var runs []*baseline.Run
	for _, it := range its {
		if r, err := s.summary(it); err == nil { // the others suffice
			runs = append(runs, r)
		}
	}
	return runs
}

func sameExercise(a, b *traffic.Iteration) bool {
	return a.Exercise != nil && b.Exercise != nil && a.Exercise.Name == b.Exercise.Name && a.Trigger != "window" && b.Trigger != "window"
}

// summary is what an iteration's window showed.
func (s *Session) summary(it *traffic.Iteration) (*baseline.Run, error) {
	if r := s.rows.summaries.get(it.Snapshot); r != nil {
		return r, nil
	}
	d, _, _, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	r := baseline.Summarize(it.ID, ofRevision(d, it.Revision))
	s.rows.summaries.put(it.Snapshot, r)
	return r, nil
}

// summaryCache keeps the newest summaries, by snapshot. The zero value is ready.
type summaryCache struct {
	mu   sync.Mutex
	ids  []string
	runs map[string]*baseline.Run
}

const keepSummaries = 16

func (c *summaryCache) get(id string) *baseline.Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[id]
}

func (c *summaryCache) put(id string, r *baseline.Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = map[string]*baseline.Run{}
	}
	c.runs[id] = r
	if c.ids = append(c.ids, id); len(c.ids) > keepSummaries {
		delete(c.runs, c.ids[0])
		c.ids = c.ids[1:]
	}
}

// diffDetail is the ledger's word on a wire diff.
func diffDetail(d *traffic.WireDiff) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%d differences from %s", d.Total, d.Since)
}
