package columns

import (
	"cmp"
	"slices"
	"sync"
)

// span is a stretch of a file.
type span struct{ at, size int64 }

// maxGap is between two stretches that are read as one: it takes no longer than to begin another reading.
const maxGap = 32 << 10

// Ahead has the system read columns into its cache, of which only some rows are asked for, nil for all: what is decoded next is there
// by then, and the disk is asked for many columns at a time.
func (g *Group) Ahead(names []string, rows Bits) {
	some := rows != nil && g.few(rows)
	var all []span
	for _, name := range names {
		i, ok := g.names[name]
		if !ok || g.cache[name] != nil {
			continue
		}
		x, err := g.chunk(i, g.number)
		if err != nil { // told when the column is read
			continue
		}
		switch {
		case x.same:
		case some && x.size > wholeChunk:
			all = append(all, span{x.index, int64(x.indexSize)})
		default:
			all = append(all, span{x.at, x.size})
		}
	}
	for _, s := range joined(all) {
		g.from.willNeed(s)
	}
}

// joined are stretches in order, those that lie side by side as one.
func joined(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.at, b.at) })
	n := 0
	for _, s := range all {
		if s.size == 0 {
			continue
		}
		if n > 0 && s.at <= all[n-1].at+all[n-1].size+maxGap {
			all[n-1].size = max(all[n-1].size, s.at+s.size-all[n-1].at)
			continue
		}
		all[n] = s
		n++
	}
	return all[:n]
}

// readAhead knows which columns a question reads of each row group, as soon as it is done with one, and has them read of the next ones
// before their turn.
type readAhead struct {
	f      *File
	groups []int

	mu    sync.Mutex
	names []string
	next  int // group that was not read ahead
}

// begin is called before the group at place i.
func (r *readAhead) begin(i int) {
	r.mu.Lock()
	names, from := r.names, max(r.next, i)
	to := min(i+1+Workers(), len(r.groups))
	if names != nil {
		r.next = max(r.next, to)
	}
	r.mu.Unlock()
	if names == nil {
		return
	}
	for ; from < to; from++ {
		r.f.group(r.groups[from], nil).Ahead(names, nil)
	}
}

// done is called after a group.
func (r *readAhead) done(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names = g.whole()
	}
}

// whole are the columns of which all pages were read.
func (g *Group) whole() []string {
	names := append([]string{}, g.past...)
	for name, c := range g.cache {
		if c != nil && c.whole {
			names = append(names, name)
		}
	}
	return names
}
