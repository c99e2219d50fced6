package filter

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/traffic"
)

func postgresqlSection() section {
	return section{name: "PostgreSQL", rows: Calls, applies: isPostgreSQL, fields: []Field{
		flag(Field{Name: "postgresql", Doc: "a PostgreSQL query, or another exchange of its protocol", Example: `postgresql && !postgresql_success`},
			onRow(carries(traffic.ProtoPostgreSQL))),
		text(Field{Name: "postgresql_command", JSON: "postgresql.command", Aliases: []string{"postgresql.command"}, Column: "postgresql_command",
			Doc:     "what the statement does: SELECT, INSERT; or the kind of message: Startup, Parse, CancelRequest, NotificationResponse",
			Example: `postgresql && postgresql_command == "SELECT"`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Command })),
		text(Field{Name: "postgresql_query", Request: true, JSON: "postgresql.query", Aliases: []string{"db.query.text", "pgsql.query"}, Column: "postgresql_query",
			Doc: "SQL text, cut at 64 KiB; that of the prepared statement for an execution", Example: `postgresql && postgresql_query.contains("FROM items")`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Query })),
		text(Field{Name: "postgresql_fingerprint", Request: true, JSON: "postgresql.fingerprint", Aliases: []string{"db.query.fingerprint", "db.query.summary"}, Column: "postgresql_fingerprint",
			Doc: "SQL text with ? for its literals: equal for queries that differ in values only", Example: `postgresql_fingerprint == "SELECT * FROM items WHERE id = ?"`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Fingerprint })),
		text(Field{Name: "postgresql_database", Request: true, JSON: "postgresql.database", Aliases: []string{"db.namespace", "db.name"}, Column: "postgresql_database",
			Doc: "database of the connection; empty where its start was not captured", Example: `postgresql_database == "shop"`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Database })),
		text(Field{Name: "postgresql_user", Request: true, JSON: "postgresql.user", Aliases: []string{"db.user"}, Column: "postgresql_user",
			Doc: "user of the connection; empty where its start was not captured", Example: `postgresql_user != "postgres"`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.User })),
		text(Field{Name: "postgresql_statement", Request: true, JSON: "postgresql.statement", Column: "postgresql_statement",
			Doc: "name of the prepared statement, empty for the unnamed one", Example: `postgresql_statement != ""`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Statement })),
		number(Field{Name: "postgresql_parameters", Request: true, JSON: "postgresql.parameters", Column: "postgresql_parameters",
			Doc: "how many parameters were bound", Example: `postgresql_parameters > 100`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) int64 { return int64(p.Parameters) })),
		texts(Field{Name: "postgresql_arguments", Request: true, JSON: "postgresql.arguments", Column: "postgresql_arguments",
			Doc: "the first parameters that were bound: text cut, binary values by their size", Example: `"42" in postgresql_arguments`},
			ofPostgreSQL(func(_ *traffic.Call, p *traffic.PostgreSQL) []string { return p.Arguments })),
		number(Field{Name: "postgresql_rows", JSON: "postgresql.rows", Aliases: []string{"db.response.returned_rows"}, Column: "postgresql_rows", Response: true,
			Doc: "rows that were returned or touched", Example: `postgresql && postgresql_rows > 1000`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) int64 { return p.Rows })),
		flag(Field{Name: "postgresql_success", JSON: "postgresql.success", Column: "postgresql_success", Response: true,
			Doc: "the server answered, and not with an error", Example: `postgresql && !postgresql_success`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) bool { return p.Success })),
		text(Field{Name: "postgresql_error_code", JSON: "postgresql.sqlstate", Aliases: []string{"db.response.status_code", "postgresql_sqlstate"}, Column: "postgresql_sqlstate",
			Response: true, Doc: "SQLSTATE of the error: 23505, 40001; empty without one", Example: `postgresql_error_code == "40001"`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.SQLState })),
		text(Field{Name: "postgresql_error_message", JSON: "postgresql.message", Column: "postgresql_message", Response: true,
			Doc: "text of the error; payload of a notification", Example: `postgresql_error_message.contains("deadlock")`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Message })),
		text(Field{Name: "postgresql_severity", JSON: "postgresql.severity", Column: "postgresql_severity", Response: true,
			Doc: "ERROR, FATAL, PANIC; SKIPPED when an earlier error of its batch kept it from running", Example: `postgresql_severity == "FATAL"`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Severity })),
		text(Field{Name: "postgresql_transaction", JSON: "postgresql.transaction", Column: "postgresql_transaction", Response: true,
			Doc: "state of the transaction after it: I idle, T in a transaction, E in a failed one", Example: `postgresql_transaction == "E"`},
			ofPostgreSQLAnswer(func(_ *traffic.Call, p *traffic.PostgreSQL) string { return p.Transaction })),
		number(Field{Name: "postgresql_request_size", Request: true, Unit: "bytes", Doc: "length of the client's messages", Example: `postgresql_request_size > 100000`},
			ofPostgreSQL(func(c *traffic.Call, _ *traffic.PostgreSQL) int64 { return c.RequestSize })),
		number(Field{Name: "postgresql_response_size", Unit: "bytes", Response: true, Doc: "length of the server's messages", Example: `postgresql_response_size > 1000000`},
			ofPostgreSQLAnswer(func(c *traffic.Call, _ *traffic.PostgreSQL) int64 { return c.ResponseSize })),
		number(Field{Name: "postgresql_total_size", Request: true, Unit: "bytes", Response: true, Doc: "length of both", Example: `postgresql_total_size > 1000000`},
			ofPostgreSQLAnswer(func(c *traffic.Call, _ *traffic.PostgreSQL) int64 { return c.RequestSize + c.ResponseSize })),
	}}
}

func isPostgreSQL(r *Row) bool { return r.Call != nil && r.Call.PostgreSQL != nil }

func ofPostgreSQL[T any](get func(*traffic.Call, *traffic.PostgreSQL) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isPostgreSQL(r) {
			return v, false
		}
		return get(r.Call, r.Call.PostgreSQL), true
	}
}

func ofPostgreSQLAnswer[T any](get func(*traffic.Call, *traffic.PostgreSQL) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isPostgreSQL(r) || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call, r.Call.PostgreSQL), true
	}
}

// unknownSQL reports whether a field follows from the text of a statement that was prepared where nobody saw it.
func unknownSQL(c *traffic.Call, f *Field) bool {
	if c.PostgreSQL == nil || !c.PostgreSQL.Unknown {
		return false
	}
	return f.Name == "postgresql_query" || f.Name == "postgresql_fingerprint" || f.Name == "path"
}

// postgresql says whether the row is a PostgreSQL call.
func (e *ends) postgresql(f *Field) ref.Val {
	if e.kind == Calls {
		switch e.proto {
		case traffic.ProtoPostgreSQL:
			return types.True
		case "", "tcp", traffic.ProtoUnknown, traffic.ProtoTLS: // behind TLS could be anything
			return f.unknown
		}
	}
	return types.False
}
