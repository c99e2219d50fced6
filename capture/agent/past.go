package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// Past is what a node's ring holds of a span of time from before the source's packets begin. It is made by [Source.Past].
// It reads the ring's segments one after the other; one that is cut off is gone on with where it was, and what left the
// ring before it was read is counted.
type Past struct {
	s        *Source
	from, to int64 // of our clock, Unix nanoseconds
	ahead    int64
	segments []Segment
	bytes    int64
	read     int64
	oldest   int64 // of the ring, our clock; 0 when it is not known

	data   bytes.Reader
	reader *pcapfile.Reader
	local  []*point // by the section's interface
	points []*point
	byKey  map[pointKey]*point
	run    string
	expect uint64 // packets of that run before the next one
	last   uint64 // segment
	here   uint64 // packets of it that came
	stats  capture.Stats
	gaps   []Gap
}

// Past asks what the ring holds of a span of time, in Unix nanoseconds, up to where the packets of [Source.Run] begin. Nothing
// is read yet.
func (s *Source) Past(ctx context.Context, from, to int64) (*Past, error) {
	p := &Past{s: s, from: from, to: to, ahead: int64(s.Ahead()), byKey: map[pointKey]*point{}}
	list, err := s.control.Snapshot(ctx, time.Unix(0, from+p.ahead), time.Unix(0, to+p.ahead))
	if err != nil {
		return nil, fmt.Errorf("ask node %s for what its ring holds: %w", s.node, err)
	}
	b, err := s.control.Boundaries(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask node %s for what its ring holds: %w", s.node, err)
	}
	if b.Oldest != 0 {
		p.oldest = b.Oldest - p.ahead
	}
	if list.Ring != s.begin.Ring { // another one, in which everything is newer
		return p, nil
	}
	var last uint64
	for _, g := range list.Segments {
		switch {
		case g.Seq <= last || g.Bytes < 0:
			return nil, fmt.Errorf("ask node %s for what its ring holds: segment %d of %d bytes comes after segment %d", s.node, g.Seq, g.Bytes, last)
		case g.Seq >= s.begin.Segment:
			return p, nil
		}
		last = g.Seq
		p.segments = append(p.segments, g)
		p.bytes += g.Bytes
	}
	return p, nil
}

// Node is the node's name.
func (p *Past) Node() string { return p.s.node }

// Bytes is how much there is to read, and how much of it was read.
func (p *Past) Bytes() (all, read int64) { return p.bytes, p.read }

// Oldest is when the oldest packet of the ring was captured, in Unix nanoseconds; 0 when it holds none that is known.
func (p *Past) Oldest() int64 { return p.oldest }

// Packets delivers the packets, once. A packet is valid until the next; its interface is one of [Past.Interfaces].
func (p *Past) Packets(ctx context.Context) iter.Seq2[*traffic.Packet, error] {
	return func(yield func(*traffic.Packet, error) bool) {
		for _, g := range p.segments {
			more, err := p.segment(ctx, g, func(k *traffic.Packet) bool { return yield(k, nil) })
			if err != nil {
				yield(nil, fmt.Errorf("read the ring of node %s: %w", p.s.node, err))
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// Interfaces are the capture points that were met, named as far as it is known who they are.
func (p *Past) Interfaces() []traffic.Interface {
	list := make([]traffic.Interface, len(p.points))
	for i, pt := range p.points {
		p.s.name(pt)
		list[i] = pt.ifc
	}
	return list
}

// Stats says what was delivered and what is missing of it.
func (p *Past) Stats() capture.Stats {
	st := p.stats
	st.Interfaces = p.Interfaces()
	for _, ifc := range st.Interfaces {
		st.Dropped += ifc.Dropped
	}
	return st
}

// Gaps lists the holes that were met. Packets that the node's kernel lost are in Stats alone.
func (p *Past) Gaps() []Gap { return p.gaps }

const (
	pastStall    = 30 * time.Second // how long an agent may send nothing of a segment
	pastPatience = 30 * time.Second // how long a cut is mended before the reading is given up
)

// segment reads one segment. It says whether emit wants more.
func (p *Past) segment(ctx context.Context, g Segment, emit func(*traffic.Packet) bool) (more bool, err error) {
	at, moved := Position{Ring: p.s.begin.Ring, Segment: g.Seq}, time.Now()
	if more, p.reader = true, nil; g.Seq != p.last+1 { // what lies between them is of another time
		p.expect = unknown
	}
	p.last, p.here = g.Seq, 0
	for backoff := firstBackoff; more && at.Offset < g.Bytes; backoff = min(2*backoff, lastBackoff) {
		before, wrong := at, false
		err := p.rest(ctx, at, func(c chunk) bool {
			if wrong = (c.head == nil) == (p.reader == nil) || c.after.Segment != g.Seq; wrong {
				return false
			}
			at = c.after
			p.read += int64(len(c.data))
			more = p.decode(c, emit)
			return more
		})
		var refused *Problem
		switch {
		case wrong:
			return false, fmt.Errorf("what the agent sent of segment %d is no segment of that number", g.Seq)
		case !more || at.Offset >= g.Bytes:
		case errors.As(err, &refused): // it left the ring meanwhile
			missing := max(g.Packets-min(p.here, g.Packets), 1)
			p.stats.Dropped += missing
			p.note(Gap{Node: p.s.node, At: time.Now(), Packets: missing, Why: "a segment left the agent's ring before it was read"})
			p.read += g.Bytes - at.Offset
			p.expect = unknown
			return true, nil
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case at != before:
			moved, backoff = time.Now(), firstBackoff
		case time.Since(moved) > pastPatience:
			return false, fmt.Errorf("segment %d came up to byte %d of %d: %w", g.Seq, at.Offset, g.Bytes, errors.Join(err, io.ErrUnexpectedEOF))
		default:
			wait(ctx, backoff)
		}
	}
	p.account()
	return more, nil
}

// rest reads a segment from a place on.
func (p *Past) rest(ctx context.Context, at Position, give func(chunk) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(pastStall, func() { cancel(fmt.Errorf("nothing came for %s", pastStall)) })
	defer stall.Stop()
	body, err := p.s.past.segmentFrom(ctx, at.Segment, at.Offset)
	if err != nil {
		return err
	}
	defer body.Close()
	return scan(body, at, func(c chunk) bool {
		stall.Stop() // whoever takes the packets may take their time
		defer stall.Reset(pastStall)
		return give(c)
	})
}

// segmentFrom opens the rest of a segment's pcapng.
func (c *Client) segmentFrom(ctx context.Context, seq uint64, offset int64) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, fmt.Sprint("/segments/", seq), nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := c.answer(req)
	if err != nil {
		return nil, err
	}
	if offset > 0 && res.StatusCode != http.StatusPartialContent {
		res.Body.Close()
		return nil, fmt.Errorf("ask the agent for segment %d from byte %d: it answers %s", seq, offset, res.Status)
	}
	return res.Body, nil
}

// decode delivers those of a chunk's packets that are of the span.
func (p *Past) decode(c chunk, emit func(*traffic.Packet) bool) (more bool) {
	if c.head != nil {
		p.enter(c.head)
		p.reader, p.local = pcapfile.NewReader(&p.data), nil
	}
	p.data.Reset(c.data)
	var k traffic.Packet
	var n uint64
	var err error
	for err = p.reader.Next(&k); err == nil; err = p.reader.Next(&k) {
		n++
		if k.Time -= p.ahead; k.Time < p.from || k.Time >= p.to {
			continue
		}
		pt := p.point(k.Interface)
		pt.ifc.Packets++
		p.stats.Received++
		k.Interface, k.Number = pt.ifc.Index, 0
		if !emit(&k) {
			return false
		}
	}
	if err != io.EOF {
		p.note(Gap{Node: p.s.node, At: time.Now(), Packets: c.packets - min(n, c.packets), Why: "the agent's ring could not be read"})
	}
	p.expect += c.packets
	p.here += c.packets
	p.stats.Dropped += c.packets - min(n, c.packets)
	return true
}

// enter notes that a segment begins: whatever its run recorded since the last one and was not read is missing.
func (p *Past) enter(h *Head) {
	switch {
	case p.run == "":
	case h.Run != p.run:
		p.stats.Dropped++ // how many is not known
		p.note(Gap{Node: p.s.node, At: time.Now(), Why: "the agent was restarted: what passed meanwhile was not captured"})
	case h.Before > p.expect:
		p.stats.Dropped += h.Before - p.expect
		p.note(Gap{Node: p.s.node, At: time.Now(), Packets: h.Before - p.expect, Why: "the agent's ring had no room for so many packets, or its disk was full"})
	}
	p.run, p.expect = h.Run, h.Before
}

// account adds what the node's kernel lost in the segment that ends.
func (p *Past) account() {
	if p.reader == nil {
		return
	}
	for i, ifc := range p.reader.Interfaces() {
		if ifc.Dropped > 0 {
			pt := p.point(i)
			pt.ifc.Dropped += ifc.Dropped
			pt.ifc.Lost = append(pt.ifc.Lost, ifc.Lost...)
		}
	}
	p.reader = nil
}

func (p *Past) note(g Gap) {
	if len(p.gaps) < maxGaps {
		p.gaps = append(p.gaps, g)
	}
}

// point is the capture point of a section's interface.
func (p *Past) point(i int) *point {
	for len(p.local) <= i {
		ifc := *p.reader.Interface(len(p.local))
		key := pointKey{ifc.CGroup, ifc.Name}
		if p.byKey[key] == nil && len(p.points) >= maxPoints {
			key = pointKey{name: "other"}
			ifc = traffic.Interface{Name: "other", Link: ifc.Link}
		}
		if p.byKey[key] == nil {
			p.byKey[key] = newPoint(len(p.points), &ifc)
			p.s.name(p.byKey[key])
			p.points = append(p.points, p.byKey[key])
		}
		p.local = append(p.local, p.byKey[key])
	}
	return p.local[i]
}
