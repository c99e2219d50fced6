package dissect

// Limits of the fragment table: a few datagrams at a time, as a kernel would hold.
const (
	maxFragmented   = 256
	fragmentTimeout = 30e9 // ns of packet time
	maxFragments    = 512  // pieces of one datagram
)

// fragmentKey names a datagram that came in pieces.
type fragmentKey struct {
	Src, Dst address
	ID       uint32
	Proto    uint8
}

// partial is a datagram of which some pieces were seen. The first copy of a byte wins.
type partial struct {
	Key    fragmentKey
	Began  int64
	Data   []byte
	Have   []span // sorted, disjoint
	Total  int    // -1 until the last piece is seen
	Pieces int
}

type span struct{ From, To int }

// reassemble adds a piece and reports whether out is now the whole datagram.
func (d *Dissector) reassemble(out *datagram, f *fragment, now int64) (whole bool) {
	key := fragmentKey{out.src, out.dst, f.id, out.proto}
	p := d.fragments[key]
	if p == nil {
		d.dropOldFragments(now)
		p = &partial{Key: key, Began: now, Total: -1}
		d.fragments[key] = p
		d.fragmentOrder = append(d.fragmentOrder, p)
	}
	end := f.offset + len(out.data)
	p.Pieces++
	if len(out.data) < out.wire && f.offset == 0 && f.more { // what the capture's length limit left of the first one is read alone
		d.forgetFragments(p)
		return true
	}
	if end > 65535 || p.Pieces > maxFragments || len(out.data) < out.wire {
		d.forgetFragments(p)
		d.account.Malformed["ip_fragment"]++
		return false
	}
	if !f.more {
		p.Total = end
	}
	p.add(f.offset, out.data)
	if p.Total < 0 || len(p.Have) != 1 || p.Have[0] != (span{0, max(p.Total, p.Have[0].To)}) {
		return false
	}
	d.forgetFragments(p)
	out.data, out.wire = p.Data[:p.Total], p.Total
	return true
}

// add copies the bytes that no earlier piece brought.
func (p *partial) add(offset int, b []byte) {
	end := offset + len(b)
	if len(p.Data) < end {
		p.Data = append(p.Data, make([]byte, end-len(p.Data))...)
	}
	var merged []span
	at, cur := offset, span{offset, end}
	for _, h := range p.Have {
		switch {
		case h.To < cur.From:
			merged = append(merged, h)
		case h.From > cur.To:
			if at < end {
				copy(p.Data[at:end], b[at-offset:])
				at = end
			}
			merged = append(merged, cur)
			cur = h
		default:
			if hole := min(h.From, end); at < hole {
				copy(p.Data[at:hole], b[at-offset:])
			}
			at = max(at, min(h.To, end))
			cur = span{min(cur.From, h.From), max(cur.To, h.To)}
		}
	}
	if at < end {
		copy(p.Data[at:end], b[at-offset:])
	}
	p.Have = append(merged, cur)
}

func (d *Dissector) forgetFragments(p *partial) {
	delete(d.fragments, p.Key)
	for i, q := range d.fragmentOrder {
		if q == p {
			d.fragmentOrder = append(d.fragmentOrder[:i], d.fragmentOrder[i+1:]...)
			return
		}
	}
}

// dropOldFragments makes room for one more datagram.
func (d *Dissector) dropOldFragments(now int64) {
	for len(d.fragmentOrder) > 0 {
		p := d.fragmentOrder[0]
		if len(d.fragmentOrder) < maxFragmented && now-p.Began < fragmentTimeout {
			return
		}
		d.account.Ignored["ip_fragment_incomplete"] += uint64(p.Pieces)
		d.giveUp(int64(len(p.Data)), "fragment")
		d.forgetFragments(p)
	}
}
