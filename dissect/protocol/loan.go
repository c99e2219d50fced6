package protocol

import "github.com/devloop-io/devloop/traffic"

// loan is a call that comes back, with memory of its own. That of the next call is the same, which spares allotting, clearing and collecting
// it, and is in the processor's cache.
type loan struct {
	httpCall
	room Memory
}

// maxLent bounds the calls that are to come back. Some never do: their connection ended in a way that nobody was told of.
const maxLent = 1024

// Lends says that calls will be given back by [Memory.Return].
func (m *Memory) Lends() { m.lends, m.lent = true, map[*traffic.Call]*loan{} }

// Lend is [Memory.HTTPCall] of a call that may come back, and the memory for what it consists of: m itself, or one that is used again when
// the call is back.
func (m *Memory) Lend() (*traffic.Call, *Memory) {
	n := len(m.free)
	switch {
	case n > 0:
		l := m.free[n-1]
		m.free = m.free[:n-1]
		return &l.call, &l.room
	case !m.lends || len(m.lent) == maxLent:
		return m.HTTPCall(), m
	}
	l := &loan{room: Memory{own: true}}
	l.call.HTTP = &l.http
	m.lent[&l.call] = l
	return &l.call, &l.room
}

// Forget says that a call, or a text of it, is used on elsewhere: it does not come back.
func (m *Memory) Forget(c *traffic.Call) { delete(m.lent, c) }

// Return takes back a call. What it consisted of is handed out again. Nothing happens to one that was not lent.
func (m *Memory) Return(c *traffic.Call) {
	l := m.lent[c]
	if l == nil {
		return
	}
	l.httpCall = httpCall{}
	l.call.HTTP = &l.http
	r := &l.room
	r.usedHeaders, r.usedBodies, r.usedText = 0, 0, 0
	m.free = append(m.free, l)
}
