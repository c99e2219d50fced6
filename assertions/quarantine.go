package assertions

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/traffic"
)

// Quarantine keeps a check that is known to be unreliable from blocking others, for a while: somebody owns it, and it ends by itself.
type Quarantine struct {
	Owner  string `yaml:"owner" json:"owner" jsonschema:"who mends the check"`
	Reason string `yaml:"reason" json:"reason" jsonschema:"why it cannot be trusted now"`
	Until  string `yaml:"until" json:"until" jsonschema:"the last day on which its failures do not gate: 2026-12-01"`
}

const quarantineExample = `quarantine: {owner: ana, reason: "the pool is cold, #123", until: 2026-12-01}`

// quarantine reads a check's quarantine.
func (l *loader) quarantine(c *check, nodes map[string]*yaml.Node) {
	node := nodes["quarantine"]
	if node == nil {
		return
	}
	parts := l.mapping(node, reflect.TypeFor[Quarantine](), "quarantine")
	if parts == nil {
		return
	}
	q := &Quarantine{}
	l.scalars(parts, reflect.ValueOf(q).Elem())
	for _, part := range []struct{ key, value string }{{"owner", q.Owner}, {"reason", q.Reason}, {"until", q.Until}} {
		if strings.TrimSpace(part.value) == "" {
			l.at(node, "for example "+quarantineExample, "a quarantine needs %s: somebody has to end it", part.key)
			return
		}
	}
	last, err := time.Parse(time.DateOnly, q.Until)
	if err != nil {
		l.at(resolve(parts["until"]), "for example until: 2026-12-01", "until is a day, and not %s", clean(q.Until, 40))
		return
	}
	c.spec.Quarantine, c.ends = q, last.AddDate(0, 0, 1)
}

// release says whether a result gates while its check is in quarantine. The window's own time counts, so that the same bytes give
// the same verdict. What could not be evaluated is no flake: an error gates in any case.
func (c *check) release(r *traffic.CheckResult, now time.Time) {
	q := c.spec.Quarantine
	if q == nil {
		return
	}
	switch r.Verdict {
	case traffic.Fail, traffic.Inconclusive, traffic.NoData:
	default:
		return
	}
	if !now.Before(c.ends) {
		r.Reason += fmt.Sprintf("; its quarantine ended on %s, so it gates again: ask %s", q.Until, q.Owner)
		return
	}
	r.Severity, r.Quarantined = SeverityWarning, fmt.Sprintf("until %s by %s: %s", q.Until, q.Owner, q.Reason)
	r.Reason = "in quarantine " + r.Quarantined + "; " + r.Reason
}
