package store

import (
	"github.com/devloop-io/devloop/traffic"
)

// postgresqlRow has the columns of PostgreSQL calls.
type postgresqlRow struct {
	HasPG         bool   `parquet:"postgresql"`
	PGCommand     string `parquet:"postgresql_command,dict"`
	PGQuery       string `parquet:"postgresql_query,dict"`
	PGQueryCut    bool   `parquet:"postgresql_query_cut"`
	PGFingerprint string `parquet:"postgresql_fingerprint,dict"`
	PGUnknown     bool   `parquet:"postgresql_unknown"`
	PGDatabase    string `parquet:"postgresql_database,dict"`
	PGUser        string `parquet:"postgresql_user,dict"`
	PGStatement   string `parquet:"postgresql_statement,dict"`
	PGParameters  int32  `parquet:"postgresql_parameters"`
	PGArguments   string `parquet:"postgresql_arguments,dict"` // JSON list
	PGRows        int64  `parquet:"postgresql_rows"`
	PGSuccess     bool   `parquet:"postgresql_success"`
	PGSQLState    string `parquet:"postgresql_sqlstate,dict"`
	PGSeverity    string `parquet:"postgresql_severity,dict"`
	PGMessage     string `parquet:"postgresql_message,dict"`
	PGNotices     int32  `parquet:"postgresql_notices"`
	PGTransaction string `parquet:"postgresql_transaction,dict"`
	PGAuth        string `parquet:"postgresql_auth,dict"`
}

func postgresqlToRow(p *traffic.PostgreSQL) postgresqlRow {
	if p == nil {
		return postgresqlRow{}
	}
	return postgresqlRow{
		HasPG: true, PGCommand: p.Command, PGQuery: p.Query, PGQueryCut: p.QueryCut, PGFingerprint: p.Fingerprint, PGUnknown: p.Unknown,
		PGDatabase: p.Database, PGUser: p.User, PGStatement: p.Statement, PGParameters: int32(p.Parameters), PGArguments: listJSON(p.Arguments),
		PGRows: p.Rows, PGSuccess: p.Success, PGSQLState: p.SQLState, PGSeverity: p.Severity, PGMessage: p.Message, PGNotices: int32(p.Notices),
		PGTransaction: p.Transaction, PGAuth: p.Authentication,
	}
}

func (r *postgresqlRow) postgresql() (*traffic.PostgreSQL, error) {
	if !r.HasPG {
		return nil, nil
	}
	p := &traffic.PostgreSQL{
		Command: r.PGCommand, Query: r.PGQuery, QueryCut: r.PGQueryCut, Fingerprint: r.PGFingerprint, Unknown: r.PGUnknown,
		Database: r.PGDatabase, User: r.PGUser, Statement: r.PGStatement, Parameters: int(r.PGParameters), Rows: r.PGRows, Success: r.PGSuccess,
		SQLState: r.PGSQLState, Severity: r.PGSeverity, Message: r.PGMessage, Notices: int(r.PGNotices), Transaction: r.PGTransaction,
		Authentication: r.PGAuth,
	}
	return p, fromJSON(r.PGArguments, &p.Arguments)
}

// texts are the columns that hold bytes from the wire.
func (r *postgresqlRow) texts() []*string {
	return []*string{&r.PGCommand, &r.PGQuery, &r.PGFingerprint, &r.PGDatabase, &r.PGUser, &r.PGStatement, &r.PGSQLState, &r.PGSeverity, &r.PGMessage,
		&r.PGTransaction}
}

// textsOf are the texts of a call that may not be UTF-8.
func textsOf(p *traffic.PostgreSQL) []string {
	return append([]string{p.Command, p.Query, p.Fingerprint, p.Database, p.User, p.Statement, p.SQLState, p.Severity, p.Message, p.Transaction},
		p.Arguments...)
}
