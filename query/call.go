package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// The bounds of a call's bodies in an answer.
const (
	usualPayload = 64 << 10
	mostPayload  = 4 << 20
)

// Packets are the packets of some connections as a capture file, secrets masked.
type Packets func(context.Context, []*traffic.Connection) ([]byte, error)

// GetAPICall returns one call with its connection and flow; a connection's number returns that. Packets, which may be nil, is asked
// where the request wants them.
func GetAPICall(ctx context.Context, db *Database, r CallRequest, packets Packets) (*CallAnswer, error) {
	most, err := payloadSize(r.MaxPayloadSize)
	if err != nil {
		return nil, err
	}
	if node, _, _ := strings.Cut(r.ID, "/"); r.NodeID != "" && node != r.NodeID && strings.Contains(r.ID, "/") {
		return nil, mistake("leave node_id out, or give the first part of the id", "call %q is of node %s, not of %q", cut(r.ID, 100), cut(node, 60), cut(r.NodeID, 60))
	}
	v, err := openSurvey(ctx, db, Selection{Scope: Scope{DB: r.DB, Snapshot: r.Snapshot}})
	if err != nil {
		return nil, err
	}
	c, err := findCall(ctx, db, r.ID)
	if err != nil {
		return nil, err
	}
	a := &CallAnswer{}
	connID, err := strconv.ParseUint(r.ID, 10, 64)
	switch {
	case c != nil:
		connID = c.ConnID
		a.call(c, &r, most)
	case err != nil:
		return nil, unknownCall(db, r.ID)
	}
	if err := a.transport(v, connID, yes(r.IncludeL4)); err != nil {
		return nil, err
	}
	if c == nil {
		if a.Connection == nil {
			return nil, unknownCall(db, r.ID)
		}
		q := listing{survey: v, format: "full"}
		a.Entry = q.entry(a.Connection)
	}
	v.found = 1
	a.Reading = v.reading("calls")
	if r.IncludePCAP && a.Connection != nil {
		if packets == nil {
			return nil, mistake("ask for a call of a snapshot, or without include_pcap", "the packets of database %s are not at hand", db.Name)
		}
		if a.PCAP, err = packets(ctx, []*traffic.Connection{a.Connection}); err != nil {
			return nil, err
		}
	}
	if !yes(r.IncludeL4) {
		a.Connection = nil
	}
	return a, nil
}

func payloadSize(n int) (int, error) {
	switch {
	case n == 0:
		return usualPayload, nil
	case n < 0 || n > mostPayload:
		return 0, mistake(fmt.Sprintf("1 to %d bytes; %d by default", mostPayload, usualPayload), "max_payload_size %d is out of range", n)
	}
	return n, nil
}

func unknownCall(db *Database, id string) error {
	return missing("list_api_calls lists the ids; calls of a snapshot need its db or snapshot_id", "there is no call %q in %s", cut(id, 100), db.Name)
}

// yes is a switch that is on by default.
func yes(p *bool) bool { return p == nil || *p }

// findCall returns the call of an ID, nil where there is none.
func findCall(ctx context.Context, db *Database, id string) (_ *traffic.Call, err error) {
	if db.CallsPath == "" {
		for c, err := range db.ReadCalls() {
			if err != nil {
				return nil, err
			}
			if c.ID == id {
				return c, nil
			}
		}
		return nil, nil
	}
	if !utf8.ValidString(id) || len(id) > 1<<10 {
		return nil, nil
	}
	t, err := store.OpenCalls(db.CallsPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if shut := t.Close(); err == nil {
			err = shut
		}
	}()
	wanted := "id == " + celString(id)
	tries := []string{wanted}
	if parts := strings.Split(id, "/"); len(parts) == 3 { // node/connection/index: numbers are found faster than texts
		if n, err := strconv.ParseUint(parts[1], 36, 53); err == nil {
			tries = []string{fmt.Sprintf("conn_id == %d && %s", n, wanted), wanted}
		}
	}
	for _, kfl := range tries {
		f, err := filter.Compile(kfl)
		if err != nil {
			return nil, err
		}
		found, err := t.Find(ctx, store.CallSearch{Filter: f}, 1)
		if err != nil {
			return nil, err
		}
		calls, err := t.Calls(ctx, found.First(1), nil)
		if err != nil {
			return nil, err
		}
		if len(calls) > 0 {
			return calls[0], nil
		}
	}
	return nil, nil
}

// celString writes a text as CEL reads it.
func celString(s string) string { return strconv.QuoteToASCII(s) }

// call fills the answer with a call, bodies apart from the rest.
func (a *CallAnswer) call(c *traffic.Call, r *CallRequest, most int) {
	full := c.Full()
	a.Result, a.Failed = result(c), failure(c)
	if yes(r.IncludePayload) {
		var cutRequest, cutResponse bool
		a.ReqBody, cutRequest = cutBytes(full.ReqBody, most)
		a.RespBody, cutResponse = cutBytes(full.RespBody, most)
		a.Truncated = full.Truncated || cutRequest || cutResponse
	}
	full.ReqBody, full.RespBody = "", ""
	if r.IncludeHeaders != nil && !*r.IncludeHeaders {
		full.ReqHeaders, full.RespHeaders = nil, nil
	}
	a.Entry = full
}

// cutBytes cuts a text at the end of a character.
func cutBytes(s string, most int) (string, bool) {
	if len(s) <= most {
		return s, false
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most], true
}

// transport adds the connection, and its flow.
func (a *CallAnswer) transport(v *survey, id uint64, flow bool) error {
	found, err := v.connectionsWhere("conn_id", map[uint64]bool{id: true})
	if err != nil || len(found) == 0 {
		return err
	}
	a.Connection = found[0]
	if !flow {
		return nil
	}
	a.Conn = l4Conn(a.Connection)
	if found, err = v.connectionsWhere("flow_id", map[uint64]bool{a.Connection.FlowID: true}); err != nil {
		return err
	}
	f := newFlowSums("", a.Connection)
	for _, c := range found {
		f.add(c)
	}
	a.Flow = f.l4()
	return nil
}

// connectionsWhere are the connections whose conn_id or flow_id is one of those given.
func (v *survey) connectionsWhere(column string, numbers map[uint64]bool) ([]*traffic.Connection, error) {
	if v.db.ConnectionsPath != "" {
		return store.FindConnections(v.ctx, v.db.ConnectionsPath, column, numbers)
	}
	var found []*traffic.Connection
	for c, err := range v.db.ReadConnections() {
		if err != nil {
			return nil, err
		}
		if column == "conn_id" && numbers[c.ID] || column == "flow_id" && numbers[c.FlowID] {
			found = append(found, c)
		}
	}
	return found, nil
}

// stateOf is the state of a connection in Kubeshark's words.
func stateOf(c *traffic.Connection) string {
	switch c.State {
	case traffic.StateEstablished:
		return "open"
	case traffic.StateInProgress:
		return "in_progress"
	}
	return "closed"
}

func l4Conn(c *traffic.Connection) *L4Conn {
	return &L4Conn{ID: c.ID, State: stateOf(c), LocalPkts: c.ClientPackets, LocalBytes: c.ClientBytes, RemotePkts: c.ServerPackets, RemoteBytes: c.ServerBytes}
}
