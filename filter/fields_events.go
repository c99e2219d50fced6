package filter

import "github.com/devloop-io/devloop/traffic"

// eventsSection is what Server-Sent Events tell beyond their HTTP call.
func eventsSection() section {
	return section{name: "Server-Sent Events", rows: Calls, applies: isEvents, optional: true, fields: []Field{
		flag(Field{Name: "event_stream", head: responseHead, JSON: "http.event_stream", Column: "event_stream", Response: true, applies: isHTTP,
			Doc: "the response is a stream of Server-Sent Events (text/event-stream)", Example: `http && event_stream`},
			ofHTTP(func(h *traffic.HTTP) bool { return h.EventStream })),
		number(Field{Name: "stream.events", JSON: "http.events", Column: "events", Response: true,
			Doc: "events seen; not counted where the stream was sent packed", Example: `stream.events > 100`},
			ofEvents(func(c *traffic.Call) (int64, bool) { return int64(c.HTTP.Events), true })),
		span(Field{Name: "stream.time_to_first_event", Request: true, Response: true, Doc: "first request byte to the end of the first event",
			Example: `stream.time_to_first_event > duration("1s")`},
			ofEvents(func(c *traffic.Call) (int64, bool) {
				return max(0, c.HTTP.FirstEvent-c.Start), c.HTTP.FirstEvent > 0
			})),
		span(Field{Name: "stream.idle_gap", Column: "idle_gap_ns", Response: true,
			Doc: "longest silence between two events, or from the last one to the end", Example: `stream.idle_gap > duration("30s")`},
			ofEvents(func(c *traffic.Call) (int64, bool) { return c.HTTP.IdleGap, c.HTTP.Events > 0 })),
	}}
}

func isEvents(r *Row) bool { return isHTTP(r) && r.Call.HTTP.EventStream }

func ofEvents[T any](get func(*traffic.Call) (T, bool)) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isEvents(r) {
			return v, false
		}
		return get(r.Call)
	}
}
