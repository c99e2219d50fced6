package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// Merged is one source over many. It is made by [Merge].
type Merged struct {
	sources []capture.Source

	mu    sync.Mutex
	ours  [][]int // by source and its interface: our interface
	count int

	emitting sync.Mutex
}

var _ capture.Source = (*Merged)(nil)

// Merge makes one source of the nodes' sources. Packets of different nodes come in no order of time. The sources belong to
// the merged one, which closes them.
func Merge(sources ...capture.Source) *Merged {
	return &Merged{sources: sources, ours: make([][]int, len(sources))}
}

// Name is "agent".
func (*Merged) Name() string { return "agent" }

// Sources are the nodes' sources.
func (m *Merged) Sources() []capture.Source { return m.sources }

// Run runs all sources. When one ends with an error, all end.
func (m *Merged) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(m.sources))
	var wg sync.WaitGroup
	for i, s := range m.sources {
		wg.Go(func() {
			errs[i] = s.Run(ctx, func(p *traffic.Packet) {
				index := m.index(i, p.Interface)
				m.emitting.Lock()
				defer m.emitting.Unlock()
				p.Interface = index
				emit(p)
			})
			if errs[i] != nil {
				cancel()
			}
		})
	}
	if len(m.sources) == 0 {
		<-ctx.Done()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// index is our number of a source's interface, a new one when it is first heard of.
func (m *Merged) index(source, ifc int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.ours[source]) <= ifc {
		m.ours[source] = append(m.ours[source], m.count)
		m.count++
	}
	return m.ours[source][ifc]
}

// Interfaces lists the capture points of all nodes.
func (m *Merged) Interfaces() []traffic.Interface {
	for {
		var lists [][]traffic.Interface
		for _, s := range m.sources {
			lists = append(lists, s.Interfaces())
		}
		if all, ok := m.join(lists); ok {
			return all
		}
	}
}

// join puts the sources' lists together. It is not ok when a source met a new interface after it was asked.
func (m *Merged) join(lists [][]traffic.Interface) (_ []traffic.Interface, ok bool) {
	for i, list := range lists {
		if len(list) > 0 {
			m.index(i, len(list)-1)
		}
	}
	m.mu.Lock()
	all := make([]traffic.Interface, m.count)
	m.mu.Unlock()
	listed := 0
	for i, list := range lists {
		for j, ifc := range list {
			if ifc.Index = m.index(i, j); ifc.Index < len(all) {
				all[ifc.Index] = ifc
				listed++
			}
		}
	}
	return all, listed == len(all)
}

// Flush flushes all nodes at the same time.
func (m *Merged) Flush(ctx context.Context) error {
	errs := make([]error, len(m.sources))
	var wg sync.WaitGroup
	for i, s := range m.sources {
		wg.Go(func() { errs[i] = s.Flush(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Stats sums the nodes' accounts.
func (m *Merged) Stats() capture.Stats {
	for {
		var sum capture.Stats
		var lists [][]traffic.Interface
		for _, s := range m.sources {
			st := s.Stats()
			sum.Received += st.Received
			sum.Dropped += st.Dropped
			lists = append(lists, st.Interfaces)
		}
		var ok bool
		if sum.Interfaces, ok = m.join(lists); ok {
			return sum
		}
	}
}

// Close closes all sources.
func (m *Merged) Close() error {
	var errs []error
	for _, s := range m.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
