package report

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// Report is what is told of one iteration. Only Iteration is needed; the rest is for the forms that draw.
type Report struct {
	Version   string // of devloop
	Workspace string // name for people
	Within    string // the workspace's folder in its repository, with a slash at the end: paths in reports begin at the repository's top
	Iteration *traffic.Iteration
	Allowed   bool // --allow-inconclusive: what could not be decided is told and does not fail

	Map       *query.ServiceMap             // who called whom
	Endpoints []query.Stats                 // by endpoint
	Trees     []*traffic.TraceNode          // slow or failed calls with what they caused
	Evidence  map[string][]traffic.FullCall // check's name → calls that its verdict rests on
}

// Format is one form of a report.
type Format struct {
	Name  string
	Doc   string
	Write func(io.Writer, *Report) error // nil for those of [Traffic]
	Draws bool                           // it uses more than the iteration
}

// Formats is the list of forms.
func Formats() []Format {
	return []Format{
		{Name: "junit", Doc: "JUnit XML, for CI servers", Write: junit},
		{Name: "sarif", Doc: "SARIF 2.1.0, for code scanning", Write: sarif},
		{Name: "github", Doc: "annotations of GitHub Actions", Write: github},
		{Name: "markdown", Doc: "Markdown, for step summaries and comments", Write: markdown},
		{Name: "tap", Doc: "TAP 14", Write: tap},
		{Name: "html", Doc: "one HTML file for people: map, waterfall, intervals, evidence", Write: page, Draws: true},
		{Name: "json", Doc: "the iteration as devloop's own JSON", Write: plain},
	}
}

// Traffic is the list of forms that tell the calls themselves instead of verdicts: they are exports of the iteration's snapshot.
func Traffic() []Format {
	return []Format{
		{Name: "har", Doc: "HTTP Archive 1.2 of the calls"},
		{Name: "otlp", Doc: "OpenTelemetry traces of the calls, to a file or to a collector's http://HOST:4318"},
	}
}

// Find returns the form of a name.
func Find(name string) (Format, error) {
	var names []string
	for _, f := range slices.Concat(Formats(), Traffic()) {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Format{}, fmt.Errorf("there is no report %q: the forms are %s", name, strings.Join(names, ", "))
}

// title is a check's name with its group.
func title(c *traffic.CheckResult) string {
	if c.Group != "" {
		return c.Name + " [" + c.Group + "]"
	}
	return c.Name
}

// path is a file of the workspace as its repository names it.
func (r *Report) path(file string) string {
	if file == "" {
		return ""
	}
	return path.Join(r.Within, file)
}

// gates reports whether a result makes the run fail.
func (r *Report) gates(c *traffic.CheckResult) bool {
	if c.Severity == assertions.SeverityWarning {
		return false
	}
	switch c.Verdict {
	case traffic.Fail:
		return true
	case traffic.Inconclusive, traffic.NoData, traffic.Error:
		return !r.Allowed
	}
	return false
}

// told are the results that say something: a built-in check with nothing to look at does not.
func (r *Report) told() []*traffic.CheckResult {
	var list []*traffic.CheckResult
	for i := range r.Iteration.Checks {
		if c := &r.Iteration.Checks[i]; !c.Builtin || c.Verdict != traffic.Skipped {
			list = append(list, c)
		}
	}
	return list
}

// worst are the results that did not pass, those that gate first.
func (r *Report) worst() []*traffic.CheckResult {
	list := slices.DeleteFunc(r.told(), func(c *traffic.CheckResult) bool { return c.Verdict == traffic.Pass || c.Verdict == traffic.Skipped })
	rank := func(c *traffic.CheckResult) int {
		if r.gates(c) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b *traffic.CheckResult) int { return rank(a) - rank(b) })
	return list
}

// details is everything that a result says, in lines of plain text.
func details(c *traffic.CheckResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", c.Verdict, oneLine(c.Reason))
	fmt.Fprintf(&b, "on: %s\nexpect: %s\nn = %d %s\n", oneLine(c.On), oneLine(c.Expect), c.N, c.Unit)
	for _, t := range c.Terms {
		fmt.Fprintf(&b, "%s = %s", t.Text, t.Value)
		if t.Low != t.High {
			fmt.Fprintf(&b, " [%s, %s]", t.Low, t.High)
		}
		fmt.Fprintf(&b, ", n = %d\n", t.N)
	}
	if c.Loss != "" {
		fmt.Fprintf(&b, "loss: %s\n", c.Loss)
	}
	if c.NeedMore > 0 {
		fmt.Fprintf(&b, "%d more samples would decide it\n", c.NeedMore)
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(&b, "%s (packets %d to %d)\n", oneLine(e.Summary), e.Packets.First, e.Packets.Last)
	}
	if more := c.EvidenceTotal - len(c.Evidence); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// failure is why there is no verdict, "" where there is one.
func failure(it *traffic.Iteration) string {
	f := it.Failure
	if f == nil {
		return ""
	}
	text := f.Phase + " failed: " + f.What
	if f.Output != "" {
		text += "\n" + f.Output
	}
	if f.Hint != "" {
		text += "\nhint: " + f.Hint
	}
	return text
}
