package facts

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Fact is one call: what is known of it alone, and behind that what was found in all of them together.
type Fact struct {
	ID         string
	Conn       uint64
	Start, End int64 // End is Start where nothing came after it
	Latency    int64 // as [traffic.Call.Latency]
	Src, Dst   *End
	Asked      *Path // of HTTP, nil for others
	Index      int32 // on Conn

	Port uint16 // of Dst

	Trace, Span          uint64 // hashes, 0 without one
	Request, Idempotency uint64 // of the headers with these ids
	Content              uint64 // protocol, method and path; without Idempotency also query, arguments and body
	Host                 uint64 // that was asked for

	Open, Half, Complete bool
	Background           bool
	Pushed               bool // by the server itself
	TLS, DNS             bool
	Failed               bool // see [Failed]
	GaveUp               bool // the client cancelled it, or stopped waiting
	NotFound             bool // 404
	Verbatim             bool // its route is its path

	Relayed    bool // its caller sends on the span that it was given
	ByTrace    bool // the trace tells the parent, not the time
	Candidates int32
	Depth      int32
	Parent     *Fact
	SelfNS     int64 // while it is counted, what its children took, below 0
	Until      int64 // when the last of them ended
	Route      *string
	Retry      *traffic.Retry
}

// Fact is what is known of a call alone.
func (w *Window) Fact(c *traffic.Call) Fact {
	f := Fact{
		ID: strings.Clone(c.ID), Conn: c.ConnID, Index: int32(c.Index), Start: c.Start, End: max(c.Start, c.End), Latency: c.Latency(),
		Src: w.End(&c.Src), Dst: w.End(&c.Dst), Port: c.Dst.Port, Trace: Hash(w, c.TraceID), Span: Hash(w, c.SpanID),
		Open: c.State == traffic.StateOpen, Half: c.State == traffic.StateHalf, Complete: c.State == traffic.StateComplete, Background: c.Background,
		TLS: c.Protocol == traffic.ProtoTLS, DNS: c.Protocol == traffic.ProtoDNS, Failed: Failed(c),
		GaveUp: c.Error == traffic.ErrorCancelled || c.Error == traffic.ErrorTimeout, NotFound: c.Status == 404,
		Pushed: c.Redis != nil && c.Redis.Push || c.WebSocket != nil && c.WebSocket.FromServer || c.HTTP != nil && c.HTTP.Pushed,
	}
	what := []string{c.Protocol, c.Method, c.Path, strconv.FormatBool(c.Background)}
	var body []byte
	if c.HTTP != nil {
		f.Idempotency = Hash(w, header(c, "idempotency-key"))
	}
	switch {
	case f.Idempotency != 0: // the key tells it from others
	case c.PostgreSQL != nil:
		what = append(append(what, c.PostgreSQL.Query), c.PostgreSQL.Arguments...)
	case c.Redis != nil:
		what = append(what, c.Redis.Args...)
	case c.HTTP != nil:
		what, body = append(what, c.HTTP.Query), c.HTTP.RequestBody
	}
	f.Content = w.texts(body, what...)
	if c.HTTP != nil {
		f.Host = Hash(w, c.HTTP.Host)
		f.Request = Hash(w, cmp.Or(header(c, "x-request-id"), header(c, "x-correlation-id")))
		if c.Path != "" {
			f.Asked = w.path(c.Method, c.Path)
			f.Verbatim = c.GRPC != nil || c.Path[0] != '/' // "*" of OPTIONS, host:port of CONNECT
		}
	}
	return f
}

func header(c *traffic.Call, name string) string {
	for i := range c.HTTP.RequestHeaders {
		if h := &c.HTTP.RequestHeaders[i]; len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Ended is when a call's answer was there: never, while it is open.
func (f *Fact) Ended() int64 {
	if f.Open {
		return math.MaxInt64
	}
	return f.End
}

// Fill gives a call what was found.
func (f *Fact) Fill(c *traffic.Call) {
	c.Parent, c.ParentBy, c.ParentCandidates, c.Depth = f.ParentID(), f.ParentBy(), int(f.Candidates), int(f.Depth)
	c.SelfNS, c.Route, c.Retry = f.SelfNS, f.RouteText(), f.Retry
}

// ParentID is the ID of the parent, empty without one.
func (f *Fact) ParentID() string {
	if f.Parent == nil {
		return ""
	}
	return f.Parent.ID
}

// ParentBy says how the parent was found, as [traffic.Call.ParentBy].
func (f *Fact) ParentBy() string {
	switch {
	case f.Parent == nil:
		return ""
	case f.ByTrace:
		return traffic.ByTrace
	}
	return traffic.ByNesting
}

// RouteText is the route, empty without one.
func (f *Fact) RouteText() string {
	if f.Route == nil {
		return ""
	}
	return *f.Route
}

// Failed reports whether a call ended in a way that its client may try again: no whole answer, a server error, or a
// status that asks to come back. A call that is still open has not failed.
func Failed(c *traffic.Call) bool {
	switch c.State {
	case traffic.StateUnanswered, traffic.StateTruncated:
		return true
	case traffic.StateComplete:
		if c.Protocol == traffic.ProtoDNS {
			return c.Status == 2 // SERVFAIL
		}
		if p := c.PostgreSQL; p != nil {
			return transient(p.SQLState)
		}
		return c.Status >= 500 || c.Status == 429 || c.Status == 408 || c.Status == 425
	}
	return false
}

// transient reports whether a SQLSTATE asks to try again: serialization failures and deadlocks (class 40), too few
// resources (53), a server that stops or starts (57P0x), a broken connection (08).
func transient(state string) bool {
	for _, class := range []string{"40", "53", "57P0", "08"} {
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	return false
}
