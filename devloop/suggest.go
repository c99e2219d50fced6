package devloop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/suggest"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// suggestFrom is how many iterations checks are drafted from, where there are so many.
const suggestFrom = 10

// SuggestChecks drafts checks from traffic that is there already, and tries them.
func (s *Session) SuggestChecks(_ context.Context, r control.SuggestRequest) (*suggest.Answer, error) {
	if r.Last < 0 || r.Limit < -1 {
		return nil, control.Usagef("leave them out for 10 iterations and 25 checks", "last and limit count from 1")
	}
	if r.DB != "" {
		return s.suggestFromSnapshot(r)
	}
	its, warning, err := s.suggesting(r)
	if err != nil {
		return nil, err
	}
	var runs []assertions.Input
	for _, it := range its {
		d, began, ended, err := s.dissection(it)
		if err != nil {
			return nil, err
		}
		runs = append(runs, assertions.Input{Dissection: ofRevision(d, it.Revision), WindowStart: began, WindowEnd: ended, Identities: s.identities()})
	}
	o := suggest.Options{Limit: r.Limit, Declared: s.declaredEdges()}
	if e := its[0].Exercise; e != nil && s.hasExercise(e.Name) {
		o.Exercise = e.Name
	}
	a, err := suggest.From(runs, o)
	if err == nil && warning != "" {
		a.Warnings = append(a.Warnings, warning)
	}
	return a, err
}

// suggestFromSnapshot drafts from a stored dissection.
func (s *Session) suggestFromSnapshot(r control.SuggestRequest) (*suggest.Answer, error) {
	if len(r.Iterations) > 0 || r.Last > 0 {
		return nil, control.Usagef("give one of them", "checks are drafted from iterations or from a snapshot")
	}
	snapshot, name, err := splitDB(query.Scope{DB: r.DB})
	if err != nil {
		return nil, err
	}
	sn, err := s.snapshot(snapshot)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	stored, err := s.chosen(sn, name)
	if err != nil {
		return nil, err
	}
	d, err := stored.Read()
	if err != nil {
		return nil, err
	}
	return suggest.From([]assertions.Input{{Dissection: d, WindowStart: sn.Window.Start, WindowEnd: sn.Window.End, Identities: sn.Identities}},
		suggest.Options{Limit: r.Limit, Declared: s.declaredEdges()})
}

// suggesting are the iterations that are meant, oldest first, and what to know about them.
func (s *Session) suggesting(r control.SuggestRequest) ([]*traffic.Iteration, string, error) {
	if len(r.Iterations) == 0 {
		return s.newestAlike(cmp.Or(r.Last, suggestFrom))
	}
	var its []*traffic.Iteration
	warning := ""
	for _, id := range r.Iterations {
		it, err := s.sealed(id)
		if err != nil {
			return nil, "", err
		}
		if it.Verdict == traffic.Fail {
			warning = it.ID + " failed a check: what it did is drafted as if it were meant"
		}
		its = append(its, it)
	}
	return its, warning, nil
}

// newestAlike are the newest iteration with traffic that did not fail, and those before it of the same revision and exercise. Where
// every one failed, they are those that failed the same checks as the newest: what they all do may be meant.
func (s *Session) newestAlike(most int) ([]*traffic.Iteration, string, error) {
	newest, err := s.sealed("")
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	its := alike(s.recent, most, func(it *traffic.Iteration) bool { return it.Verdict != traffic.Fail })
	if len(its) == 0 {
		failed := failedChecks(newest)
		its = alike(s.recent, most, func(it *traffic.Iteration) bool { return slices.Equal(failedChecks(it), failed) })
		return its, fmt.Sprintf("every iteration that is kept failed a check: what %s did, and what breaks %s, is drafted as if it were meant", quantityOf(its), strings.Join(failed, ", ")), nil
	}
	if len(its) < 3 {
		return its, fmt.Sprintf("drafted from %s of one revision: bounds learned from few runs are broken by chance; devloop run makes more", quantityOf(its)), nil
	}
	return its, "", nil
}

// alike are the newest of these iterations, oldest first: those with traffic that are wanted, of one revision and exercise.
func alike(recent []*traffic.Iteration, most int, wanted func(*traffic.Iteration) bool) []*traffic.Iteration {
	var its []*traffic.Iteration
	for _, it := range slices.Backward(recent) {
		switch {
		case it.Snapshot == "" || !wanted(it) || len(its) == most:
		case len(its) == 0 || it.Revision == its[0].Revision && exerciseName(it) == exerciseName(its[0]):
			its = append(its, it)
		}
	}
	slices.Reverse(its)
	return its
}

func quantityOf(its []*traffic.Iteration) string {
	if len(its) == 1 {
		return its[0].ID
	}
	return fmt.Sprintf("%d iterations", len(its))
}

// failedChecks are the names of the checks that an iteration fails, sorted.
func failedChecks(it *traffic.Iteration) []string {
	var names []string
	for i := range it.Checks {
		if c := &it.Checks[i]; c.Verdict == traffic.Fail && c.Severity != assertions.SeverityWarning {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func exerciseName(it *traffic.Iteration) string {
	if it.Exercise == nil {
		return ""
	}
	return it.Exercise.Name
}

func (s *Session) hasExercise(name string) bool {
	_, ok := s.config().Exercises[name]
	return ok
}

// declaredEdges are those that devloop.yaml tells: a service speaks to what it depends on.
func (s *Session) declaredEdges() []string {
	var edges []string
	for name, service := range s.config().Services {
		for _, other := range service.DependsOn {
			edges = append(edges, name+" -> "+other)
		}
	}
	slices.Sort(edges)
	return edges
}
