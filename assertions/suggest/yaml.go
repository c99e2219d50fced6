package suggest

import (
	"fmt"
	"strconv"
	"strings"
)

// file is the answer as the text of a check file.
func file(a *Answer, exercise string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Drafted from %s and %s. What was observed need not be what is meant: read each, cut and sharpen, then commit.\n", plural(a.Runs, "run"), plural(a.Calls, "call"))
	if len(a.Checks) == 0 {
		b.WriteString("# Nothing was found that holds in every run and that a fault would break.\n")
		return b.String()
	}
	if exercise != "" {
		fmt.Fprintf(&b, "exercise: %s\n", scalar(exercise))
	}
	b.WriteString("checks:\n")
	for i, s := range a.Checks {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  # %s; fails when %s (planted %s, caught %s)\n", s.Held, s.Fault, times(s.Tried), times(s.Caught))
		b.WriteString(s.text(false))
	}
	return b.String()
}

// text is one check as YAML: an item of the list, or a whole file.
func (s *Suggestion) text(whole bool) string {
	var b strings.Builder
	if whole {
		b.WriteString("checks:\n")
	}
	fmt.Fprintf(&b, "  - name: %s\n", scalar(s.Name))
	fmt.Fprintf(&b, "    on: |\n      %s\n", s.On)
	fmt.Fprintf(&b, "    expect: |\n      %s\n", strings.ReplaceAll(s.Expect, "\n", "\n      "))
	if s.By != "" {
		fmt.Fprintf(&b, "    by: |\n      %s\n", s.By)
	}
	if s.AllowEmpty {
		b.WriteString("    allow_empty: true\n")
	}
	if s.Severity != "" {
		fmt.Fprintf(&b, "    severity: %s\n", s.Severity)
	}
	if s.OnInconclusive != "" {
		fmt.Fprintf(&b, "    on_inconclusive: %s\n", s.OnInconclusive)
	}
	if s.OnNoData != "" {
		fmt.Fprintf(&b, "    on_nodata: %s\n", s.OnNoData)
	}
	return b.String()
}

// scalar is a text as a YAML value on one line. JSON's strings are YAML's.
func scalar(s string) string { return strconv.Quote(s) }

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(n) + " times"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
