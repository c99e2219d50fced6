package kindenv

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// labelled says of each packet which build was running. A container keeps its cgroup when its program is replaced, so
// the nodes' sources know one interface of it; here every build has one of its own.
type labelled struct {
	capture.Source
	skip func(*traffic.Packet, *traffic.Interface) bool // packets that are nobody's traffic

	mu     sync.Mutex
	builds map[container]string // what runs now
	now    []int                // of the source's interfaces: ours, -1 while nothing passed
	ours   []part
}

// container is one of a pod.
type container struct{ namespace, pod, name string }

// part is what passed one interface of the source while one build ran.
type part struct {
	theirs int
	build  string
	begin  traffic.Interface // the source's counts when it began
	end    *traffic.Interface
}

func newLabelled(s capture.Source, skip func(*traffic.Packet, *traffic.Interface) bool) *labelled {
	return &labelled{Source: s, skip: skip, builds: map[container]string{}}
}

// Run delivers packets under our numbers.
func (l *labelled) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	var theirs []traffic.Interface
	return l.Source.Run(ctx, func(p *traffic.Packet) {
		if p.Interface >= len(theirs) {
			theirs = l.Source.Interfaces()
		}
		if l.skip != nil && p.Interface < len(theirs) && l.skip(p, &theirs[p.Interface]) {
			return
		}
		p.Interface = l.number(p.Interface)
		emit(p)
	})
}

// number is our number of the source's interface now.
func (l *labelled) number(theirs int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.now) <= theirs {
		l.now = append(l.now, -1)
	}
	if l.now[theirs] < 0 {
		build := ""
		if list := l.Source.Interfaces(); theirs < len(list) {
			if build = l.builds[of(&list[theirs])]; build == "" && list[theirs].Workload != nil {
				build = list[theirs].Workload.Build // of a pod whose image is its build
			}
		}
		l.begin(theirs, build, traffic.Interface{})
	}
	return l.now[theirs]
}

// begin begins a part. The caller holds the lock.
func (l *labelled) begin(theirs int, build string, counts traffic.Interface) {
	l.now[theirs] = len(l.ours)
	l.ours = append(l.ours, part{theirs: theirs, build: build, begin: counts})
}

func of(i *traffic.Interface) container {
	if i.Workload == nil {
		return container{}
	}
	return container{i.Workload.Namespace, i.Workload.Pod, i.Workload.Container}
}

// runs says that a container runs a build from here on. Everything that was captured before must have been delivered.
func (l *labelled) runs(c container, build string) {
	counts := l.Source.Stats().Interfaces
	l.mu.Lock()
	defer l.mu.Unlock()
	l.builds[c] = build
	for theirs, ours := range l.now {
		if ours < 0 || theirs >= len(counts) || of(&counts[theirs]) != c || l.ours[ours].build == build {
			continue
		}
		l.ours[ours].end = &counts[theirs]
		l.begin(theirs, build, counts[theirs])
	}
}

// Interfaces lists our capture points, with what runs or ran there.
func (l *labelled) Interfaces() []traffic.Interface { return l.list(l.Source.Interfaces()) }

// Stats is the source's account by our interfaces.
func (l *labelled) Stats() capture.Stats {
	s := l.Source.Stats()
	s.Interfaces = l.list(s.Interfaces)
	return s
}

func (l *labelled) list(theirs []traffic.Interface) []traffic.Interface {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]traffic.Interface, len(l.ours))
	for i, p := range l.ours {
		if p.theirs >= len(theirs) {
			list[i] = traffic.Interface{Index: i}
			continue
		}
		ifc := theirs[p.theirs]
		if p.end != nil {
			ifc.Packets, ifc.Dropped, ifc.Lost = p.end.Packets, p.end.Dropped, p.end.Lost
		}
		ifc.Index = i
		ifc.Packets -= min(ifc.Packets, p.begin.Packets)
		ifc.Dropped -= min(ifc.Dropped, p.begin.Dropped)
		ifc.Lost = less(ifc.Lost, p.begin.Lost)
		if ifc.Workload != nil {
			w := *ifc.Workload
			w.Build = p.build
			ifc.Workload = &w
		}
		list[i] = ifc
	}
	return list
}

// less is what was lost since.
func less(now, before []traffic.FlowLoss) []traffic.FlowLoss {
	if len(before) == 0 {
		return now
	}
	type flow struct{ src, dst, proto string }
	key := func(f traffic.FlowLoss) flow { return flow{f.Src.String(), f.Dst.String(), f.Proto} }
	old := maps.Collect(func(yield func(flow, uint64) bool) {
		for _, f := range before {
			if !yield(key(f), f.Packets) {
				return
			}
		}
	})
	var left []traffic.FlowLoss
	for _, f := range slices.Clone(now) {
		if f.Packets -= min(f.Packets, old[key(f)]); f.Packets > 0 {
			left = append(left, f)
		}
	}
	return left
}
