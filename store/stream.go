package store

import (
	"sync/atomic"

	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Bounds of what a stream has under way: rows of a batch, and batches that wait. Waking a goroutine costs more than a row.
const (
	streamBatch = 64
	streamQueue = 4
	streamBytes = 1 << 20 // of bodies in a batch
)

// stream takes rows from a dissector to callbacks that run on a goroutine of their own.
type stream struct {
	onCall       func(*traffic.Call)
	onConnection func(*traffic.Connection)
	redactor     *redact.Redactor

	batch   []streamRow
	size    int
	batches chan []streamRow
	done    chan struct{}

	used atomic.Int64 // calls that nobody uses any more
	told int64        // of which the dissector knows
}

// streamRow is a call or a connection.
type streamRow struct {
	call       *traffic.Call
	connection *traffic.Connection
}

// newStream puts itself in the place of the callbacks in o.
func newStream(o *FileOptions) *stream {
	s := &stream{onCall: o.Dissect.OnCall, onConnection: o.Dissect.OnConnection, redactor: o.Redactor,
		batches: make(chan []streamRow, streamQueue), done: make(chan struct{})}
	if s.onCall != nil {
		o.Dissect.OnCall = func(c *traffic.Call) { s.add(streamRow{call: c}) }
		o.Dissect.Returned = s.returned
	}
	if s.onConnection != nil {
		o.Dissect.OnConnection = func(c *traffic.Connection) { s.add(streamRow{connection: c}) }
	}
	go s.run()
	return s
}

// returned is how many calls have come back since it was asked last.
func (s *stream) returned() int {
	used := s.used.Load()
	n := used - s.told
	s.told = used
	return int(n)
}

func (s *stream) add(row streamRow) {
	if s.batch == nil {
		s.batch = make([]streamRow, 0, streamBatch)
	}
	s.batch = append(s.batch, row)
	if row.call != nil {
		s.redact(row.call)
	}
	if len(s.batch) == streamBatch || s.size >= streamBytes {
		s.send()
	}
}

// redact is done here, where what it reads was just written: on another core it would have to come from there.
func (s *stream) redact(c *traffic.Call) {
	if s.redactor != nil {
		s.redactor.Call(c)
	}
	if h := c.HTTP; h != nil {
		s.size += len(h.RequestBody) + len(h.ResponseBody)
	}
}

func (s *stream) send() {
	s.batches <- s.batch
	s.batch, s.size = nil, 0
}

func (s *stream) run() {
	defer close(s.done)
	for batch := range s.batches {
		calls := int64(0)
		for _, row := range batch {
			switch {
			case row.connection != nil:
				s.onConnection(row.connection)
			default:
				s.onCall(row.call)
				calls++
			}
		}
		s.used.Add(calls)
	}
}

// close waits until all rows were handed over.
func (s *stream) close() {
	s.send()
	close(s.batches)
	<-s.done
}
