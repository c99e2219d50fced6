package filter

import "github.com/devloop-io/devloop/traffic"

// Row is what a filter judges: a call or a connection. Exactly one of the two makes the row; where Call is set, Conn may
// be set as well, to the connection that carried the call, and lends it the fields of connections.
type Row struct {
	Call *traffic.Call
	Conn *traffic.Connection
}

// ends returns the client's and the server's end, never nil.
func (r *Row) ends() (src, dst *traffic.Endpoint) {
	switch {
	case r.Call != nil:
		return &r.Call.Src, &r.Call.Dst
	case r.Conn != nil:
		return &r.Conn.Src, &r.Conn.Dst
	}
	return &nowhere, &nowhere
}

var nowhere traffic.Endpoint

// Kind says which rows something speaks of.
type Kind uint8

// The kinds of rows. Both is their union.
const (
	Calls Kind = 1 << iota
	Connections
	Both = Calls | Connections
)

// String is "calls", "connections" or "calls and connections".
func (k Kind) String() string {
	switch k {
	case Calls:
		return "calls"
	case Connections:
		return "connections"
	case Both:
		return "calls and connections"
	}
	return "nothing"
}

// Kind is the kind of one row.
func (r *Row) Kind() Kind {
	if r.Call != nil {
		return Calls
	}
	return Connections
}
