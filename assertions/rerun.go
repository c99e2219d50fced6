package assertions

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// Rerun is what on_inconclusive: rerun(max=5, budget=60s) allows: how often the window may be made longer when the data are
// too few, and for how long in all. More data are added, none are replaced, and a failure is never asked again.
//
// Whoever looks at growing data until they please finds what is not there. So the chance of error is spent over the looks:
// each of them has confidence 1 - (1 - confidence)/(max + 1).
type Rerun struct {
	Max    int
	Budget time.Duration
}

// What rerun means without arguments, and at most.
const (
	defaultReruns      = 5
	defaultRerunBudget = time.Minute
	mostReruns         = 100
	mostRerunBudget    = time.Hour
	onRerun            = "rerun"
	rerunExample       = "rerun(max=5, budget=60s)"
	rerunPattern       = `^(fail|warn|rerun(\((max=\d+)?(, ?)?(budget=[0-9a-z.]+)?\))?)$`
)

var rerunCall = regexp.MustCompile(`^rerun(?:\(([^()]*)\))?$`)

// parseRerun reads on_inconclusive; nil where it is no rerun.
func parseRerun(text string) (*Rerun, error) {
	m := rerunCall.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return nil, nil
	}
	r := &Rerun{Max: defaultReruns, Budget: defaultRerunBudget}
	if strings.TrimSpace(m[1]) == "" {
		return r, nil
	}
	for _, part := range strings.Split(m[1], ",") {
		key, value, _ := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		var err error
		switch key = strings.TrimSpace(key); key {
		case "max":
			if r.Max, err = strconv.Atoi(value); err != nil || r.Max < 0 || r.Max > mostReruns {
				return nil, fmt.Errorf("max is %s, want a number from 0 to %d", value, mostReruns)
			}
		case "budget":
			if r.Budget, err = time.ParseDuration(value); err != nil || r.Budget < 0 || r.Budget > mostRerunBudget {
				return nil, fmt.Errorf("budget is %s, want a duration from 0s to %s", value, mostRerunBudget)
			}
		default:
			return nil, fmt.Errorf("rerun has no argument %s, only max and budget", key)
		}
	}
	return r, nil
}

// grows are the aggregates that mean something else over a longer window.
var grows = []string{"count", "sum", "distinct", "count_by", "calls_per", "eventually"}

// rerun reads on_inconclusive of a check, and refuses what a longer window would judge otherwise for its length alone.
func (l *loader) rerun(c *check, nodes map[string]*yaml.Node) {
	node := nodes["on_inconclusive"]
	if node == nil {
		return
	}
	r, err := parseRerun(c.spec.OnInconclusive)
	switch {
	case err != nil:
		l.at(node, "for example on_inconclusive: "+rerunExample, "on_inconclusive: %v", err)
	case r == nil && c.spec.OnInconclusive != OnFail && c.spec.OnInconclusive != OnWarn:
		hint := "one of " + strings.Join([]string{OnFail, OnWarn, rerunExample}, ", ")
		if near := config.Suggest(c.spec.OnInconclusive, []string{OnFail, OnWarn, onRerun}); near != "" {
			hint = "did you mean " + near + "?"
		}
		l.at(node, hint, "on_inconclusive is %s, %s or %s", OnFail, OnWarn, onRerun)
	case r != nil && c.expect != nil:
		for _, t := range c.expect.terms {
			if slices.Contains(grows, t.aggregate.name) {
				l.at(node, "use on_inconclusive: fail, or an aggregate that does not grow: ratio(…), p95(…)",
					"a rerun makes the window longer, and %s of a longer window is another number", t.aggregate.name)
				return
			}
		}
	}
	c.rerun = r
}

// confidence is that of one look.
func (c *check) confidence() float64 {
	if c.rerun == nil {
		return c.spec.Confidence
	}
	return 1 - (1-c.spec.Confidence)/float64(c.rerun.Max+1)
}

// Unfinished are the names of the checks that more data may decide, when the window was made longer done times already and
// the iteration has spent so much time on that: those with on_inconclusive: rerun whose result says how many more samples
// it needs. Nothing that failed is among them.
func (s *Suite) Unfinished(results []traffic.CheckResult, done int, spent time.Duration) []string {
	var names []string
	for _, c := range s.checks {
		if c.rerun == nil || done >= c.rerun.Max || spent >= c.rerun.Budget {
			continue
		}
		open, failed := false, false
		for _, r := range results {
			if r.Name == c.spec.Name && strings.HasSuffix(c.file, r.File) { // results may name the file from the workspace on
				open = open || r.Verdict == traffic.Inconclusive && r.NeedMore > 0
				failed = failed || r.Verdict == traffic.Fail
			}
		}
		if open && !failed {
			names = append(names, c.spec.Name)
		}
	}
	return names
}

// Rerunning are the names of the checks that ask for reruns, of those that are wanted; a name that no check has where there are
// none, so that nothing is judged twice.
func (s *Suite) Rerunning(only []string) []string {
	names := []string{"-"}
	for _, c := range s.checks {
		if c.rerun != nil && (CheckOptions{Only: only}).wants(c.spec.Name) {
			names = append(names, c.spec.Name)
		}
	}
	return names
}

// Renew puts the results over a longer window in place of those that were inconclusive; every other result stays.
func Renew(results, again []traffic.CheckResult) []traffic.CheckResult {
	out := slices.Clone(results)
	for i, r := range out {
		if r.Verdict != traffic.Inconclusive {
			continue
		}
		for _, n := range again {
			if n.Name == r.Name && n.File == r.File && n.Group == r.Group {
				out[i] = n
			}
		}
	}
	for _, n := range again { // a group that shows only now
		if !slices.ContainsFunc(out, func(r traffic.CheckResult) bool { return n.Name == r.Name && n.File == r.File && n.Group == r.Group }) {
			out = append(out, n)
		}
	}
	return out
}
