package query

import (
	"iter"

	"github.com/devloop-io/devloop/traffic"
)

// Live is the name of the database of what is captured now.
const Live = "live"

// Newest is the name of the snapshot of the newest iteration that has traffic.
const Newest = "newest"

// Database is one set of calls and connections: what is captured now, or one dissection of a snapshot. It does not change
// while it is open.
type Database struct {
	Name       string // Live, or SNAPSHOT/DISSECTION
	Start, End int64  // Unix nanoseconds: the time that it speaks of
	Account    traffic.Account
	Identities []traffic.Identity
	Events     []traffic.ClusterEvent

	Filters *Filters // that questions can name; nil where none were named

	// Files of a sealed dissection; empty for live traffic.
	CallsPath       string
	ConnectionsPath string

	// Rows of live traffic, in the order in which they began; nil where there are files.
	Calls       []*traffic.Call
	Connections []*traffic.Connection

	// Empty says why there is nothing in it, where that is known: capture is off, dissection is off, nothing runs.
	Empty string

	ReadCalls       func() iter.Seq2[*traffic.Call, error]       // all calls, from files or memory
	ReadConnections func() iter.Seq2[*traffic.Connection, error] //
}
