package http1

import (
	"slices"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// What follows means the same in HTTP/2, whose dissector uses it too.

// Decode undoes content codings, the last applied first. No more than limit bytes come out; cut is set when there were
// more, and why says what stood in the way.
func Decode(body []byte, codings string, limit int, cut *bool, why *string) []byte {
	return decode(body, codings, limit, cut, why)
}

// SplitTarget cuts the query off a request's target.
func SplitTarget(target string) (path, query string) { return splitTarget(target) }

// Trace is what a request's headers say of its cause.
type Trace struct {
	Parent    string // traceparent
	Iteration string // devloop-iteration
	Baggage   string
	Agent     string // user-agent
}

// Note writes it into the call.
func (t *Trace) Note(c *traffic.Call) {
	c.TraceID, c.SpanID = parseTraceparent(t.Parent)
	c.Iteration = t.Iteration
	if c.Iteration == "" && t.Baggage != "" {
		c.Iteration = fromBaggage(t.Baggage)
	}
	c.Background = strings.HasPrefix(t.Agent, "devloop-probe") || strings.HasPrefix(t.Agent, "kube-probe")
}

// bequeath leaves a request that asked for HTTP/2 to it: the answer comes there. WebSocket wants to know what was agreed on.
func bequeath(h protocol.Host, x *exchange) {
	e, ok := h.(protocol.Executor)
	if up := x.Call.HTTP.Upgrade; !ok || !strings.EqualFold(up, "h2c") && !strings.EqualFold(up, "websocket") {
		return
	}
	h.Memory().Forget(x.Call)
	c, web := *x.Call, *x.Call.HTTP
	web.RequestHeaders, web.ResponseHeaders = slices.Clone(web.RequestHeaders), slices.Clone(web.ResponseHeaders) // whoever has the call may redact it
	c.HTTP = &web
	e.Bequeath(&c, x.Request)
}
