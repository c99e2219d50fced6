package kindenv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/traffic"
)

// Past is what the nodes' rings hold of a span of time from before the capture began. It is made by [Env.Past].
type Past struct {
	nodes []*agent.Past
	skip  func(*traffic.Packet, *traffic.Interface) bool
	ours  [][]int
	count int
}

// Nodes are those that are captured on, sorted; none while nothing is captured.
func (e *Env) Nodes() []string {
	n := e.capturing()
	if n == nil {
		return nil
	}
	var names []string
	for _, s := range n.sources {
		names = append(names, s.Node())
	}
	slices.Sort(names)
	return names
}

// Past asks the nodes, or only some of them, what their rings hold of a span of time, in Unix nanoseconds, up to where the
// packets of [Env.Capture] begin. Nothing is read yet.
func (e *Env) Past(ctx context.Context, from, to int64, only []string) (*Past, error) {
	n := e.capturing()
	if n == nil {
		return nil, errors.New("nothing is captured yet")
	}
	var asked []*agent.Source
	for _, s := range n.sources {
		if len(only) == 0 || slices.Contains(only, s.Node()) {
			asked = append(asked, s)
		}
	}
	p := &Past{skip: n.skip, nodes: make([]*agent.Past, len(asked)), ours: make([][]int, len(asked))}
	errs := make([]error, len(asked))
	var wg sync.WaitGroup
	for i, s := range asked {
		wg.Go(func() { p.nodes[i], errs[i] = s.Past(ctx, from, to) })
	}
	wg.Wait()
	return p, errors.Join(errs...)
}

// Bytes is how much there is to read, and how much of it was read.
func (p *Past) Bytes() (all, read int64) {
	for _, n := range p.nodes {
		a, r := n.Bytes()
		all, read = all+a, read+r
	}
	return all, read
}

// Oldest is from when on all nodes' rings hold what they captured, in Unix nanoseconds; 0 where none holds anything.
func (p *Past) Oldest() int64 {
	var oldest int64
	for _, n := range p.nodes {
		oldest = max(oldest, n.Oldest())
	}
	return oldest
}

// Each delivers the packets of all nodes, once, in about the order of their times. A packet and its interface are valid until
// the next.
func (p *Past) Each(ctx context.Context, emit func(*traffic.Packet, *traffic.Interface) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reading struct {
		next   func() (*traffic.Packet, error, bool)
		packet *traffic.Packet
	}
	readings := make([]reading, len(p.nodes))
	step := func(i int) error {
		k, err, ok := readings[i].next()
		if !ok || err != nil {
			k = nil
		}
		readings[i].packet = k
		return err
	}
	for i, n := range p.nodes {
		next, stop := iter.Pull2(n.Packets(ctx))
		defer stop()
		readings[i].next = next
		if err := step(i); err != nil {
			return err
		}
	}
	var ifaces = make([][]traffic.Interface, len(p.nodes))
	for {
		oldest := -1
		for i, r := range readings {
			if r.packet != nil && (oldest < 0 || r.packet.Time < readings[oldest].packet.Time) {
				oldest = i
			}
		}
		if oldest < 0 {
			return nil
		}
		k := readings[oldest].packet
		if k.Interface >= len(ifaces[oldest]) {
			ifaces[oldest] = p.nodes[oldest].Interfaces()
		}
		ifc := ifaces[oldest][k.Interface]
		if !p.skip(k, &ifc) {
			ifc.Index = p.number(oldest, k.Interface)
			ifc.Packets, ifc.Dropped, ifc.Lost = 0, 0, nil
			k.Interface = ifc.Index
			if err := emit(k, &ifc); err != nil {
				return err
			}
		}
		if err := step(oldest); err != nil {
			return err
		}
	}
}

// number is our number of a node's interface.
func (p *Past) number(node, theirs int) int {
	for len(p.ours[node]) <= theirs {
		p.ours[node] = append(p.ours[node], p.count)
		p.count++
	}
	return p.ours[node][theirs]
}

// Stats says what was delivered, and what is missing of it.
func (p *Past) Stats() capture.Stats {
	var sum capture.Stats
	for i, n := range p.nodes {
		st := n.Stats()
		sum.Received += st.Received
		sum.Dropped += st.Dropped
		for j, ifc := range st.Interfaces {
			ifc.Index = p.number(i, j)
			sum.Interfaces = append(sum.Interfaces, ifc)
		}
	}
	return sum
}

// Gaps are sentences about the holes that were met.
func (p *Past) Gaps() []string {
	var list []string
	for _, n := range p.nodes {
		for _, g := range n.Gaps() {
			if g.Packets > 0 {
				list = append(list, fmt.Sprintf("node %s: %d packets are missing: %s", g.Node, g.Packets, g.Why))
			} else {
				list = append(list, fmt.Sprintf("node %s: %s", g.Node, g.Why))
			}
		}
	}
	return list
}
