package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types/ref"
)

// Doc renders the field reference as Markdown, from the table.
func Doc() string {
	var b strings.Builder
	b.WriteString(`<!-- Written by ` + "`go test ./filter -run TestReference -update`" + ` from the field table in filter/. Edit that. -->

# Fields of the filter language

A filter (KFL) is a CEL expression over one row, a call or a connection, that is true or false:

    http && dst.service.name == "frontend" && status_code >= 500

- A field that a row does not have reads as ` + "`\"\"`, `0`, `false`" + ` or empty. In expectations of checks it is unknown instead: fields
  marked **answer** while their call has none, fields marked **request** where only the answer was captured, fields marked
  **optional** where the row lacks them.
- ` + "`m[key]`" + ` of a missing key reads as empty; ` + "`key in m` and `has(m.key)`" + ` tell whether it is there. Header names are case-insensitive.
- Durations compare with ` + "`duration(\"100ms\")`" + `, times with ` + "`timestamp(\"2026-01-02T15:04:05Z\")` and `now() - duration(\"5m\")`" + `.
- Strings have ` + "`contains` `startsWith` `endsWith` `matches`" + ` (RE2) and ` + "`size`" + `; lists and maps ` + "`in` `size` `exists` `all` `map_get`" + `.
- Text that is JSON, such as ` + "`request.body`, `response.body`, `gql_variables` or `redis_reply`" + `, takes a path: ` + "`request.body.json(\"$.items[0].sku\") == \"A1\"`" + `
  (text; ` + "`\"\"`" + ` where it leads nowhere), ` + "`request.body.json_number(\"$.total\") > 100.0`, `request.body.json_has(\"$.coupon\")`" + ` and
  ` + "`\"A1\" in request.body.json_all(\"$.items[*].sku\")`" + `. Steps are ` + "`.name` `[\"name\"]` `[0]` `[*]` `.*`" + `. Of several documents, as gRPC messages
  are, the first that has the path counts, and ` + "`json_all`" + ` takes all; of a body that was cut, what was kept.
- ` + "`mentions(\"12345\")`" + ` asks whether the call says a text anywhere: it looks into ` + "`texts`" + `, exactly as written.
- Rows are redacted before any filter sees them (` + "`devloop dissect --raw`" + ` apart): ` + "`mentions`" + `, bodies and headers hold ` + "`[redacted …]`" + ` where a secret stood, so a filter cannot be used
  to guess one. The keyed hash in that mark finds the same secret elsewhere.
- The older spellings are accepted and rewritten: ` + "`and` `or` `not`, `path contains \"/api\"`, `path == r\"^/api\"`" + ` and the aliases below.
- Fields of calls are empty on connections. Fields of connections are there on a call whose connection is known.
`)
	var section string
	for _, f := range table().fields {
		if f.Section != section {
			section = f.Section
			fmt.Fprintf(&b, "\n## %s\n\n| Field | Type | Meaning | Example | Also written |\n|---|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, cell(typeName(f.Type)), cell(meaning(&f)), code(f.Example), aliases(f.Aliases))
	}
	return b.String()
}

// meaning is the doc line with unit and marks.
func meaning(f *Field) string {
	s := f.Doc
	if f.Unit != "" {
		s += " (" + f.Unit + ")"
	}
	var marks []string
	if f.Response {
		marks = append(marks, "**answer**")
	}
	if f.Request {
		marks = append(marks, "**request**")
	}
	if f.Optional && !f.Stub {
		marks = append(marks, "**optional**")
	}
	if len(marks) > 0 {
		s += " · " + strings.Join(marks, ", ")
	}
	return s
}

func aliases(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, code(name))
	}
	return strings.Join(all, " ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

// cell escapes what would end a cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Default is what filters read where a row has no value.
func (f *Field) Default() ref.Val { return f.zero }
