package traffic

// ProtoPostgreSQL is PostgreSQL's own protocol, version 3.
const ProtoPostgreSQL = "postgresql"

// PostgreSQL is what a call of PostgreSQL's protocol carries: a simple query, an execution of a prepared statement, or a
// message of another kind.
type PostgreSQL struct {
	Command        string   `json:"command"`               // SELECT, INSERT, …; or the message's kind: Startup, Parse, Execute, FunctionCall, CancelRequest, NotificationResponse
	Query          string   `json:"query"`                 // SQL text, cut at 64 KiB
	QueryCut       bool     `json:"query_cut,omitempty"`   //
	Fingerprint    string   `json:"fingerprint,omitempty"` // the query without its literals
	Unknown        bool     `json:"unknown,omitempty"`     // the query was prepared before the capture joined, or where it lacks packets
	Database       string   `json:"database,omitempty"`    // of the connection; empty when its start was not seen
	User           string   `json:"user,omitempty"`        //
	Statement      string   `json:"statement,omitempty"`   // name of the prepared statement, empty for the unnamed one
	Parameters     int      `json:"parameters,omitempty"`  // how many were bound
	Arguments      []string `json:"arguments,omitempty"`   // the first of them: text cut, binary values by their size
	Rows           int64    `json:"rows"`                  // returned or touched, as the server says
	Success        bool     `json:"success"`               // the server answered, and not with an error
	SQLState       string   `json:"sqlstate,omitempty"`    // of the error
	Severity       string   `json:"severity,omitempty"`    // ERROR, FATAL, PANIC; SKIPPED when an earlier error of its batch kept it from running
	Message        string   `json:"message,omitempty"`     // of the error; payload of a notification
	Notices        int      `json:"notices,omitempty"`     // that the server sent meanwhile
	Transaction    string   `json:"transaction,omitempty"` // after it: I idle, T in a transaction, E in a failed one
	Authentication string   `json:"auth,omitempty"`        // of a Startup: trust, password, md5, scram, gss
}
