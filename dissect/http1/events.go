package http1

import (
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Events counts the events of a text/event-stream as they arrive (WHATWG HTML section 9.2.6). Comments are none, nor are
// blocks without data. Exported for checkpoints; HTTP/2 uses it too.
type Events struct {
	On    bool
	Last  int64 // when the last one ended
	Data  bool  // the block at hand has some
	Len   int   // of the line at hand, as far as it matters
	Other bool  // that line is no data
	CR    bool  // the last byte was one
}

// Begin looks at the response's headers. Packed streams are not counted: when an event leaves the packer is not when it is written.
func (e *Events) Begin(web *traffic.HTTP, contentType, coding string) {
	const name = "text/event-stream"
	web.EventStream = len(contentType) >= len(name) && strings.EqualFold(contentType[:len(name)], name)
	e.On = web.EventStream && coding == ""
}

// Read counts the events that end in b, which arrived at that time.
func (e *Events) Read(web *traffic.HTTP, b []byte, at int64) {
	for _, c := range b {
		switch {
		case c == '\n' && e.CR:
			e.CR = false
		case c == '\n' || c == '\r':
			e.CR = c == '\r'
			e.line(web, at)
		default:
			e.CR = false
			if name := "data:"; e.Len < len(name) {
				e.Other = e.Other || c != name[e.Len]
				e.Len++
			}
		}
	}
}

// line ends a line; an empty one ends an event.
func (e *Events) line(web *traffic.HTTP, at int64) {
	switch {
	case e.Len > 0:
		e.Data = e.Data || e.Len >= 4 && !e.Other
	case e.Data:
		web.Events++
		if web.FirstEvent == 0 && web.Events == 1 {
			web.FirstEvent = at
		}
		e.End(web, at)
		e.Last, e.Data = at, false
	}
	e.Len, e.Other = 0, false
}

// End ends the silence since the last event.
func (e *Events) End(web *traffic.HTTP, at int64) {
	if e.Last > 0 {
		web.IdleGap = max(web.IdleGap, at-e.Last)
	}
}

// Gap says that bytes are missing: the line at hand is not known any more.
func (e *Events) Gap() { e.Data, e.Len, e.Other, e.CR = false, 1, true, false }
