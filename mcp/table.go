package mcp

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/query"
)

// The text of an answer with many rows is a table: the same rows as JSON cost two to four times the tokens. Programs read
// the structured content, which has everything.

// column is one column of a table.
type column struct {
	name string
	cell func(row map[string]any) string
}

// table writes rows below a line of names. A row that is no object, or a cell with a separator in it, is shown quoted.
func table(rows []any, columns []column) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(c.name)
	}
	for _, r := range rows {
		b.WriteByte('\n')
		row, ok := r.(map[string]any)
		if !ok {
			fmt.Fprintf(&b, "%q", fmt.Sprint(r))
			continue
		}
		for i, c := range columns {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(cell(c.cell(row)))
		}
	}
	return b.String()
}

// cell keeps a value within its line and column.
func cell(s string) string {
	if strings.ContainsAny(s, "|\n\r") {
		return strconv.Quote(strings.ReplaceAll(s, "|", "¦"))
	}
	return s
}

// field is a column of one field.
func field(name string) column {
	return column{name, func(row map[string]any) string { return value(row[name]) }}
}

func value(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// at is a column of a field that holds Unix milliseconds.
func at(name string) column {
	return column{name, func(row map[string]any) string {
		ms, ok := row[name].(float64)
		if !ok {
			return value(row[name])
		}
		return clock(int64(ms))
	}}
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05.000") }

// peer is a column of an endpoint: its best name, with the port where names alone do not tell.
func peer(name string) column {
	return column{name, func(row map[string]any) string {
		end, ok := row[name].(map[string]any)
		if !ok {
			return value(row[name])
		}
		for _, key := range []string{"svc", "pod", "name", "ip"} {
			if s, _ := end[key].(string); s != "" {
				if ns, _ := end["ns"].(string); ns != "" && key != "ip" {
					return ns + "/" + s
				}
				return s
			}
		}
		return ""
	}}
}

// heading says how many rows of how many, of which traffic, and what stands between the answer and the truth.
func heading(what string, shown, total int, cursor string, r query.Reading) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d %s · %s", shown, total, what, r.DB)
	if r.Start != 0 || r.End != 0 {
		fmt.Fprintf(&b, " · %s to %s UTC", time.UnixMilli(r.Start).UTC().Format("2006-01-02 15:04:05"), time.UnixMilli(r.End).UTC().Format("15:04:05"))
	}
	if cursor != "" {
		fmt.Fprintf(&b, "\nthere are more: cursor %q", cursor)
	}
	b.WriteString(remarks(r))
	return b.String()
}

// remarks are the sentences of a reading.
func remarks(r query.Reading) string {
	var b strings.Builder
	for _, line := range []struct{ label, text string }{
		{"read as", r.Rewritten}, {"incomplete", r.Incomplete}, {"nothing found", r.Why}, {"warning", strings.Join(r.Warnings, "; ")},
	} {
		if line.text != "" {
			b.WriteString("\n" + line.label + ": " + line.text)
		}
	}
	return b.String()
}
