package facts

import (
	"hash/maphash"
	"iter"
	"net/netip"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// chunk is how many facts lie together: a list that grows by copying would need twice the memory.
const chunk = 4096

// Window is the facts of a window's calls, with each end and path once. It is made by [New], and belongs to one goroutine.
type Window struct {
	Refused []Refused

	chunks [][]Fact
	n      int
	seed   maphash.Seed
	ends   map[endKey]*End
	places map[place]uint32
	paths  map[Path]*Path
}

// End is one end of calls, as far as it tells them apart.
type End struct {
	endKey
	Workload uint32 // number of its namespace and name; 0 without a name
	Address  uint32 // number of its address; those of workloads and addresses are all different
}

type endKey struct {
	Namespace, Name string // as [traffic.Workload.Name]
	Pod             string
	IP              netip.Addr
	PID             uint32
	Exercise        bool
}

// place is a workload, or an address.
type place struct {
	namespace, name string
	ip              netip.Addr
}

// Home is how others know an end: by its name, else by its address.
func (e *End) Home() uint32 {
	if e.Workload != 0 {
		return e.Workload
	}
	return e.Address
}

// Path is what HTTP calls asked for.
type Path struct{ Method, Path string }

// Refused is a connection that its server refused.
type Refused struct {
	Conn       uint64
	Src, Dst   *End
	Port       uint16
	Start, End int64
}

// New makes a window without calls.
func New() *Window {
	return &Window{seed: maphash.MakeSeed(), ends: map[endKey]*End{}, places: map[place]uint32{}, paths: map[Path]*Path{}}
}

// Of is the facts of some calls and refused connections, in their order.
func Of(calls []*traffic.Call, connections []*traffic.Connection) *Window {
	w := New()
	for _, c := range calls {
		w.Add(c)
	}
	for _, c := range connections {
		w.Refuse(c)
	}
	return w
}

// Add appends the facts of a call. They stay where they are.
func (w *Window) Add(c *traffic.Call) *Fact {
	if w.n%chunk == 0 {
		w.chunks = append(w.chunks, make([]Fact, 0, chunk))
	}
	last := &w.chunks[w.n/chunk]
	*last = append(*last, w.Fact(c))
	w.n++
	return &(*last)[len(*last)-1]
}

// Close gives back what only adding and finding need.
func (w *Window) Close() { w.ends, w.places, w.paths, w.Refused = nil, nil, nil, nil }

// Len is how many calls were added.
func (w *Window) Len() int { return w.n }

// At is the i-th.
func (w *Window) At(i int) *Fact { return &w.chunks[i/chunk][i%chunk] }

// All are the facts in the order in which they were added.
func (w *Window) All() iter.Seq[*Fact] {
	return func(yield func(*Fact) bool) {
		for _, list := range w.chunks {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// Refuse adds a connection, unless its server accepted it.
func (w *Window) Refuse(c *traffic.Connection) {
	if c.State == traffic.StateRefused {
		w.Refused = append(w.Refused, Refused{Conn: c.ID, Src: w.End(&c.Src), Dst: w.End(&c.Dst), Port: c.Dst.Port, Start: c.Start, End: c.End})
	}
}

// End is the one of an endpoint.
func (w *Window) End(e *traffic.Endpoint) *End {
	k := endKey{Namespace: e.Namespace, Name: e.Name(), Pod: e.Pod, IP: e.IP, PID: e.PID, Exercise: e.Kind == traffic.KindExercise}
	return w.end(k)
}

func (w *Window) end(k endKey) *End {
	if known := w.ends[k]; known != nil {
		return known
	}
	k.Namespace, k.Name, k.Pod = strings.Clone(k.Namespace), strings.Clone(k.Name), strings.Clone(k.Pod) // of the packets' memory nothing is kept
	x := &End{endKey: k, Address: w.number(place{ip: k.IP.Unmap()})}
	if k.Name != "" {
		x.Workload = w.number(place{namespace: k.Namespace, name: k.Name})
	}
	w.ends[k] = x
	return x
}

// Named is an end without a name that turned out to have one.
func (w *Window) Named(e *End, name string) *End {
	if name == "" {
		return e
	}
	k := e.endKey
	k.Name = name
	return w.end(k)
}

func (w *Window) number(p place) uint32 {
	n := w.places[p]
	if n == 0 {
		n = uint32(len(w.places) + 1)
		w.places[p] = n
	}
	return n
}

func (w *Window) path(method, path string) *Path {
	p := Path{method, path}
	if known := w.paths[p]; known != nil {
		return known
	}
	p.Method, p.Path = strings.Clone(method), strings.Clone(path)
	w.paths[p] = &p
	return &p
}

// Hash is equal for equal values of one window, and 0 for none.
func Hash[T comparable](w *Window, v T) uint64 {
	var none T
	if v == none {
		return 0
	}
	return maphash.Comparable(w.seed, v) | 1
}

// texts hashes a list of texts and a body.
func (w *Window) texts(body []byte, list ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(w.seed)
	for _, s := range list {
		_, _ = h.WriteString(strconv.Itoa(len(s)))
		_ = h.WriteByte(':')
		_, _ = h.WriteString(s)
	}
	_, _ = h.Write(body)
	return h.Sum64()
}
