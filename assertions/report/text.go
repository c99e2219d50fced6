package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// github writes a workflow command for each result that did not pass: an annotation at the check's line. GitHub shows ten
// of each kind and step; those that gate come first.
func github(w io.Writer, r *Report) error {
	var b strings.Builder
	if text := failure(r.Iteration); text != "" {
		fmt.Fprintf(&b, "::error title=%s::%s\n", property("devloop: "+r.Iteration.Failure.Phase+" failed"), data(text))
	}
	for _, c := range r.worst() {
		level := "warning"
		if r.gates(c) {
			level = "error"
		}
		where := ""
		if c.File != "" {
			where = fmt.Sprintf("file=%s,line=%d,", property(r.path(c.File)), max(1, c.Line))
		}
		fmt.Fprintf(&b, "::%s %stitle=%s::%s\n", level, where, property(fmt.Sprintf("%s: %s", c.Verdict, title(c))), data(details(c)))
	}
	for _, warning := range r.Iteration.Warnings {
		fmt.Fprintf(&b, "::warning title=devloop::%s\n", data(warning))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// data escapes the text of a workflow command, as @actions/core does: a line of captured text must not become a command.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(strings.TrimSpace(printable(s)))
}

// property escapes a value before the second colons.
func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(printable(s))
}

var marks = map[traffic.Verdict]string{
	traffic.Pass: "✅", traffic.Fail: "❌", traffic.Inconclusive: "❔", traffic.NoData: "∅", traffic.Error: "⚠️", traffic.Skipped: "⏭️",
}

// markdown writes a summary: what did not pass in full, the rest in a table.
func markdown(w io.Writer, r *Report) error {
	it := r.Iteration
	var b strings.Builder
	fmt.Fprintf(&b, "## %s devloop: %s\n\n", cmp.Or(marks[it.Verdict], marks[traffic.Error]), orFailed(it))
	fmt.Fprintf(&b, "%s, revision %s, %d calls, captured by %s\n\n", cell(it.ID), cell(it.Revision), it.Calls, cell(it.Source))
	if text := failure(it); text != "" {
		b.WriteString(fence(text))
	}
	for _, c := range r.worst() {
		fmt.Fprintf(&b, "### %s %s\n\n", marks[c.Verdict], cell(title(c)))
		if c.File != "" {
			fmt.Fprintf(&b, "`%s:%d`\n\n", strings.ReplaceAll(r.path(c.File), "`", "'"), c.Line)
		}
		b.WriteString(fence(details(c)))
	}
	if told := r.told(); len(told) > 0 {
		b.WriteString("| | check | n | |\n|---|---|---:|---|\n")
		for _, c := range told {
			fmt.Fprintf(&b, "| %s | %s | %d | %s |\n", marks[c.Verdict], cell(title(c)), c.N, cell(values(c)))
		}
	}
	for _, warning := range it.Warnings {
		fmt.Fprintf(&b, "\n> %s\n", cell(warning))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orFailed(it *traffic.Iteration) string {
	if it.Verdict == "" {
		return "no verdict"
	}
	return string(it.Verdict)
}

// values are a result's terms in short.
func values(c *traffic.CheckResult) string {
	var list []string
	for _, t := range c.Terms {
		list = append(list, t.Text+" = "+t.Value)
	}
	return strings.Join(list, ", ")
}

// cell is text within a table or a line: nothing in it is Markdown or HTML.
func cell(s string) string {
	s = printable(strings.ReplaceAll(s, "\n", " "))
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "\\|", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "@", "@\u200b").Replace(s)
}

// fence is a block of text as it is.
func fence(s string) string {
	marks := "```"
	for strings.Contains(s, marks) {
		marks += "`"
	}
	return marks + "text\n" + strings.TrimRight(printable(s), "\n") + "\n" + marks + "\n\n"
}

// tap writes version 14 of the Test Anything Protocol.
func tap(w io.Writer, r *Report) error {
	told := r.told()
	var b strings.Builder
	n := len(told)
	if r.Iteration.Failure != nil {
		n++
	}
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", n)
	for i, c := range told {
		ok, directive := "ok", ""
		switch {
		case r.gates(c):
			ok = "not ok"
		case c.Verdict == traffic.Skipped:
			directive = " # SKIP " + tapText(c.Reason)
		case c.Verdict != traffic.Pass: // it is told and does not count
			ok, directive = "not ok", " # TODO "+string(c.Verdict)
		}
		fmt.Fprintf(&b, "%s %d - %s%s\n", ok, i+1, tapText(title(c)), directive)
		if c.Verdict != traffic.Pass && c.Verdict != traffic.Skipped {
			b.WriteString(block(details(c)))
		}
	}
	if r.Iteration.Failure != nil {
		fmt.Fprintf(&b, "not ok %d - %s\n%s", n, tapText(r.Iteration.Failure.Phase), block(failure(r.Iteration)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// block is a YAML block of diagnostics.
func block(s string) string {
	var b strings.Builder
	b.WriteString("  ---\n  message: |\n")
	for line := range strings.Lines(strings.TrimRight(printable(s), "\n") + "\n") {
		b.WriteString("    " + line)
	}
	b.WriteString("  ...\n")
	return b.String()
}

func tapText(s string) string {
	return strings.NewReplacer("\\", "\\\\", "#", "\\#", "\n", " ").Replace(printable(s))
}
