package assertions

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/devloop-io/devloop/internal/config"
)

//go:generate go test . -run TestReferenceIsCurrent -update

// Function is one function of the vocabulary, for completion, hover and the reference.
type Function struct {
	Name      string
	Signature string
	Section   string
	Type      string // of its result, in words
	Unit      string
	Doc       string
	Example   string
}

// Functions is the vocabulary of expectations, in the order of the reference.
func Functions() []Function {
	var all []Function
	for _, a := range vocabulary() {
		all = append(all, Function{Name: a.name, Signature: a.signature, Section: a.section, Type: a.resultName(), Unit: a.unit, Doc: a.doc,
			Example: a.example})
	}
	return all
}

// resultName is the type of the result in words.
func (a aggregate) resultName() string {
	switch a.name {
	case "count_by", "calls_per", "fan_out":
		return "counts by group"
	case "edges", "destinations", "new_edges", "new_fields", "cycles", "top":
		return "set of names"
	case "mean", "stddev", "ratio", "rate", "p50", "p90", "p95", "p99", "percentile", "slowdown", "increase":
		return "estimate"
	}
	if !a.isNumber() {
		return "true, false or unknown"
	}
	return "fact, a number"
}

// Reference is docs/checks.md: the vocabulary, the keys of a check and the built-in checks, all from the tables of the code.
func Reference() string {
	var b strings.Builder
	b.WriteString("<!-- Generated from the tables in assertions/ by `go generate ./assertions`. Do not edit. -->\n\n# Checks\n\n")
	b.WriteString(referenceIntroduction)
	b.WriteString("\n## Keys of a check\n\n| key | what it says |\n|---|---|\n")
	for i, t := 0, reflect.TypeFor[Check](); i < t.NumField(); i++ {
		fmt.Fprintf(&b, "| `%s` | %s |\n", t.Field(i).Tag.Get("yaml"), tableCell(t.Field(i).Tag.Get("jsonschema")))
	}
	b.WriteString("\nA file may name its `exercise` at the top, and mute built-in checks with `builtin: {rule: reason}`.\n")
	section := ""
	for _, f := range Functions() {
		if f.Section != section {
			section = f.Section
			fmt.Fprintf(&b, "\n## %s\n\n| function | yields | unit | what it says | example |\n|---|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | `%s` |\n", tableCell(f.Signature), f.Type, f.Unit, tableCell(f.Doc), tableCell(f.Example))
	}
	b.WriteString("\nThe baseline is the one that has the exercise's name: see [baselines.md](baselines.md). Where there is none, these functions answer `error`.\n")
	b.WriteString("\n## Built-in checks\n\nThey need no file, gate like any check, and are skipped where there is nothing to judge. Those of the profile `agent`\n" +
		"are for code that nobody has read yet: `profile: agent` in devloop.yaml turns them on, and so does asking for one by its name\n" +
		"(`devloop run --check builtin/plaintext-outside`). They fail, and do not warn; what a project does on purpose is muted with its reason.\n" +
		"They judge what was seen in the clear, and are inconclusive where packets were lost.\n\n| rule | profile | what it says |\n|---|---|---|\n")
	for _, rule := range builtins() {
		profile := "every"
		if rule.agent {
			profile = config.ProfileAgent
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", rule.name, profile, tableCell(rule.doc))
	}
	return b.String()
}

func tableCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const referenceIntroduction = "A check selects calls or connections with a filter, `on`, and states what must hold of all of them together, `expect`: CEL over\n" +
	"the functions below. `P` is a question asked of each row and `x` a value of each row, in the fields of the filter language.\n\n" +
	"```yaml\n" +
	"exercise: checkout-rush\n" +
	"checks:\n" +
	"  - name: the payment path stays fast\n" +
	"    on: http && src.service.name == \"checkout\" && dst.service.name == \"payment\"\n" +
	"    expect: |\n" +
	"      p95(latency) < duration(\"120ms\") && max(handshake_rtt) < duration(\"10ms\")\n" +
	"```\n\n" +
	"Write `expect` as a block (`|`): in a plain value YAML reads a leading `!` as a tag, cuts at ` #` and refuses `: `.\n\n" +
	"**Verdicts.** `pass` · `fail` · `inconclusive`: there is data, but not enough of it, or the capture is incomplete where the check looks ·\n" +
	"`nodata`: nothing matched `on` · `error`: it could not be evaluated · `skipped`. Absence of evidence is never a pass.\n\n" +
	"**Estimates.** A function that yields an estimate has an interval. A comparison holds when the whole interval lies on the right side of\n" +
	"the bound, fails when it lies on the wrong side, and is unknown in between; the result then says how many more calls are needed.\n" +
	"`p < x || p >= x` is unknown too when `p` is. Estimates can be compared and computed with: `p99(latency) / p50(latency) < 5`.\n\n" +
	"**Four rules.** Response fields of unanswered calls are unknown in `expect`, and request fields where only the answer was\n" +
	"captured. Loss counts over the connections that could match `on`. A term over a field that no row has (`retry.*`, `tls.*`) holds, and is shown as vacuous. `allow_empty` counts only over complete capture.\n"
