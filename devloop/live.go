package devloop

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// The bounds of what is kept of live traffic.
const (
	liveBytes       = 64 << 20
	liveAge         = 30 * time.Minute
	liveConnections = 16 << 10
	liveIdle        = 5 * time.Minute // without a question
	connectionBytes = 1 << 10         // about what a connection takes
)

// The states of live dissection.
const (
	liveOn   = "on"
	liveOff  = "off"  // somebody switched it off
	liveIdly = "idle" // nobody asked for a while
)

// live keeps the newest calls and connections that the follower completes, redacted. It is safe for concurrent use.
type live struct {
	redactor *redact.Redactor
	resolve  func(netip.Addr, int64) (traffic.Workload, bool)
	now      func() time.Time

	mu          sync.Mutex
	state       string
	since       int64 // Unix nanoseconds: rows are kept from here on
	stopped     int64 // when that ended by itself
	asked       int64
	calls       []*traffic.Call // in the order of completion; nil where a later one took its place
	first       int             // number of calls[0]
	open        map[string]int  // number by ID, of calls that wait for their answer
	connections map[uint64]*traffic.Connection
	bytes       int64
	count       int
	forgotten   uint64
	version     int
	delay       time.Duration

	rows   *traffic.Dissection // made of version rowsOf, when so many packets had been read
	rowsOf int
	packet uint64
	ready  map[*traffic.Call]*traffic.Call // finished copies of calls
}

func newLive(r *redact.Redactor, resolve func(netip.Addr, int64) (traffic.Workload, bool), now func() time.Time) *live {
	l := &live{redactor: r, resolve: resolve, now: now}
	l.asked = now().UnixNano()
	l.begin()
	return l
}

// begin keeps rows from now on. The caller holds the lock, or is alone.
func (l *live) begin() {
	l.state, l.since = liveOn, l.now().UnixNano()
	l.forget()
}

// forget lets go of all rows.
func (l *live) forget() {
	l.calls, l.first, l.bytes, l.count = nil, 0, 0, 0
	l.open, l.connections = map[string]int{}, map[uint64]*traffic.Connection{}
	l.rows, l.ready = nil, nil
	l.version++
}

// keeping reports whether rows are wanted; it looks at the clock.
func (l *live) keeping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now().UnixNano(); l.state == liveOn && now-l.asked > int64(liveIdle) {
		l.state, l.stopped = liveIdly, now
		l.forget()
	}
	return l.state == liveOn
}

// call keeps a call. It belongs to the store from here on.
func (l *live) call(c *traffic.Call) {
	if l == nil || !l.keeping() {
		return
	}
	l.redactor.Call(c)
	c.RequestPackets, c.ResponsePackets = traffic.PacketRange{}, traffic.PacketRange{} // numbers of no file
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	if i, ok := l.open[c.ID]; ok { // it had waited at the end of a window
		delete(l.open, c.ID)
		if i >= l.first && l.calls[i-l.first] != nil {
			l.drop(i)
		}
	}
	if c.State == traffic.StateOpen {
		l.open[c.ID] = l.first + len(l.calls)
	}
	l.calls = append(l.calls, c)
	l.bytes += int64(weigh(c))
	l.count++
	l.trim()
}

// drop lets go of one call. The caller holds the lock.
func (l *live) drop(i int) {
	c := l.calls[i-l.first]
	l.calls[i-l.first] = nil
	l.bytes -= int64(weigh(c))
	l.count--
}

// trim makes room and forgets what is old. The caller holds the lock.
func (l *live) trim() {
	oldest := l.now().Add(-liveAge).UnixNano()
	for len(l.calls) > 0 {
		c := l.calls[0]
		if c != nil && l.bytes <= liveBytes && c.End >= oldest {
			break
		}
		if c != nil {
			l.drop(l.first)
			delete(l.open, c.ID)
			l.forgotten++
			l.since = max(l.since, c.End)
		}
		l.calls = l.calls[1:]
		l.first++
	}
}

// connection keeps the newest row of a connection.
func (l *live) connection(c *traffic.Connection) {
	if l == nil || !l.keeping() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	l.keepConnection(c)
}

// keepConnection is connection; the caller holds the lock.
func (l *live) keepConnection(c *traffic.Connection) {
	c.Packets = traffic.PacketRange{}
	if c.End < l.since {
		return
	}
	l.connections[c.ID] = c
	if len(l.connections) <= liveConnections {
		return
	}
	ends := make([]int64, 0, len(l.connections))
	for _, c := range l.connections {
		ends = append(ends, c.End)
	}
	slices.Sort(ends)
	middle := ends[len(ends)/4]
	maps.DeleteFunc(l.connections, func(_ uint64, c *traffic.Connection) bool { return c.End <= middle })
}

// touch notes that somebody asks, and reports what state that met. From here on rows are kept again, unless somebody
// switched that off.
func (l *live) touch() (met string, stopped int64) {
	l.keeping()
	l.mu.Lock()
	defer l.mu.Unlock()
	met, stopped = l.state, l.stopped
	l.asked = l.now().UnixNano()
	if met == liveIdly {
		l.begin()
	}
	return met, stopped
}

// turn switches it on or off. What is there stays until it is old.
func (l *live) turn(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = l.now().UnixNano()
	switch {
	case on && l.state != liveOn:
		l.begin()
	case !on:
		l.state = liveOff
	}
}

// behind notes how far a reading was behind the capture.
func (l *live) behind(d time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// view is everything that is kept, finished: in order, retries grouped, parents found, with the follower's open connections
// as they stand. Its rows do not change any more.
func (l *live) view(f *follower) (d *traffic.Dissection, since int64) {
	read := f.packets()
	l.mu.Lock()
	d, since = l.rows, l.since
	fresh := d != nil && l.rowsOf == l.version && l.packet == read
	l.mu.Unlock()
	if fresh {
		return d, since
	}
	var open []*traffic.Connection
	account := f.peek(func(c *traffic.Connection) { open = append(open, c) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	for _, c := range open {
		if l.state == liveOn {
			l.keepConnection(c)
		}
	}
	lookedUp := store.Resolver(f.lookedUp(nil))
	d = &traffic.Dissection{Account: account}
	// Calls that began well before the oldest new one are what they were when somebody asked last.
	settled := l.settled()
	ready := make(map[*traffic.Call]*traffic.Call, l.count)
	var before []*traffic.Call
	for _, c := range l.calls {
		switch {
		case c == nil:
		case c.Start < settled && l.ready[c] != nil:
			ready[c] = l.ready[c]
			before = append(before, ready[c])
		default:
			own := *c
			l.name(&own.Src, own.Start, nil)
			l.name(&own.Dst, own.Start, lookedUp)
			ready[c] = &own
			d.Calls = append(d.Calls, &own)
		}
	}
	for _, c := range l.connections {
		if c.End >= l.since {
			own := *c
			l.name(&own.Src, own.Start, nil)
			l.name(&own.Dst, own.Start, lookedUp)
			d.Connections = append(d.Connections, &own)
		}
	}
	store.Finish(d, nil) // they are redacted
	d.Calls = append(before, d.Calls...)
	slices.SortStableFunc(d.Calls, func(a, b *traffic.Call) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ConnID, b.ConnID), cmp.Compare(a.Index, b.Index))
	})
	l.rows, l.rowsOf, l.packet, l.ready = d, l.version, account.Packets, ready
	return d, l.since
}

// related is how far apart in time calls may be that are looked at together: attempts of a request, parents and children.
const related = 10 * time.Second

// settled is the time before which no call has to be looked at again. The caller holds the lock.
func (l *live) settled() int64 {
	oldest := l.now().UnixNano()
	for _, c := range l.calls {
		if c != nil && l.ready[c] == nil {
			oldest = min(oldest, c.Start)
		}
	}
	return oldest - int64(related)
}

// name asks again who an end is that nobody knew when its packets came: clusters tell late. lookedUp, which may be nil, names
// what is outside.
func (l *live) name(e *traffic.Endpoint, at int64, lookedUp func(netip.Addr, int64) (traffic.Workload, bool)) {
	if e.Name() != "" {
		return
	}
	for _, whose := range []func(netip.Addr, int64) (traffic.Workload, bool){l.resolve, lookedUp} {
		if whose == nil {
			continue
		}
		if w, ok := whose(e.IP, at); ok {
			e.Workload = w
			return
		}
	}
}

// figures are what is kept now.
type liveFigures struct {
	state         string
	calls, conns  int
	bytes         int64
	forgotten     uint64
	delay         time.Duration
	oldest, since int64
	newest        int64
	stopped       int64
}

func (l *live) figures() liveFigures {
	l.keeping()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	f := liveFigures{state: l.state, calls: l.count, conns: len(l.connections), bytes: l.bytes + int64(len(l.connections))*connectionBytes,
		forgotten: l.forgotten, delay: l.delay, since: l.since, stopped: l.stopped}
	for _, c := range l.calls {
		if c == nil {
			continue
		}
		if f.oldest == 0 || c.Start < f.oldest {
			f.oldest = c.Start
		}
		f.newest = max(f.newest, c.End, c.Start)
	}
	return f
}

// weigh is about how many bytes a call takes in memory.
func weigh(c *traffic.Call) int {
	n := 1 << 10
	if h := c.HTTP; h != nil {
		n += len(h.RequestBody) + len(h.ResponseBody) + 2*(h.RequestHeadersSize+h.ResponseHeadersSize)
	}
	if p := c.PostgreSQL; p != nil {
		n += len(p.Query) + len(p.Fingerprint) + len(p.Message) + 64*len(p.Arguments)
	}
	if r := c.Redis; r != nil {
		n += len(r.Reply)
		for _, a := range r.Args {
			n += len(a)
		}
	}
	if w := c.WebSocket; w != nil {
		n += len(w.Payload)
	}
	return n
}
