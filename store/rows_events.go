package store

import "github.com/devloop-io/devloop/traffic"

// eventsRow has the columns of Server-Sent Events.
type eventsRow struct {
	EventStream  bool  `parquet:"event_stream"`
	Events       int64 `parquet:"events"`
	FirstEventNS int64 `parquet:"first_event_ns"`
	IdleGapNS    int64 `parquet:"idle_gap_ns"`
}

func eventsToRow(h *traffic.HTTP) eventsRow {
	if h == nil {
		return eventsRow{}
	}
	return eventsRow{EventStream: h.EventStream, Events: int64(h.Events), FirstEventNS: h.FirstEvent, IdleGapNS: h.IdleGap}
}

func (r *eventsRow) events(h *traffic.HTTP) {
	if h != nil {
		h.EventStream, h.Events, h.FirstEvent, h.IdleGap = r.EventStream, int(r.Events), r.FirstEventNS, r.IdleGapNS
	}
}
