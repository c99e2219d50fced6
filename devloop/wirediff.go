package devloop

import (
	"fmt"
	"slices"
	"sync"

	"github.com/devloop-io/devloop/assertions/baseline"
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
	passed := s.passedBefore(it)
	if len(passed) == 0 || it.Snapshot == "" {
		return nil, nil
	}
	var runs []*baseline.Run
	for _, p := range passed {
		r, err := s.summary(p)
		if err != nil {
			continue // its snapshot is gone; the others suffice
		}
		runs = append(runs, r)
	}
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
	if len(d.Findings) > shownFindings {
		d.Findings = d.Findings[:shownFindings]
	}
	if lost := now.Loss; lost != "" {
		d.Note = "the capture is incomplete, so what is missing may have been there: " + lost
	}
	return d, nil
}

// passedBefore are the newest iterations of the last revision that passed, when that is another one than it's and they ran the
// same; oldest first.
func (s *Session) passedBefore(it *traffic.Iteration) []*traffic.Iteration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var passed []*traffic.Iteration
	for _, p := range slices.Backward(s.recent) {
		if p.ID == it.ID || p.Verdict != traffic.Pass || p.Snapshot == "" || !sameExercise(p, it) {
			continue
		}
		if len(passed) > 0 && p.Revision != passed[0].Revision || len(passed) == diffRuns {
			break
		}
		if p.Revision == it.Revision {
			return nil
		}
		passed = append(passed, p)
	}
	slices.Reverse(passed)
	return passed
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
