package capture

import (
	"context"
	"sync"

	"github.com/devloop-io/devloop/traffic"
)

// Lossy is a source that loses packets on purpose. It is meant for tests and fault drills: what it drops, it counts as
// lost by interface and flow, just as a source counts what the kernel had no room for.
type Lossy struct {
	Source
	drop func(*traffic.Packet) bool

	mu   sync.Mutex
	lost map[int]*losses
}

// NewLossy wraps a source so that packets for which drop is true are lost.
func NewLossy(s Source, drop func(*traffic.Packet) bool) *Lossy {
	return &Lossy{Source: s, drop: drop, lost: map[int]*losses{}}
}

// Run delivers the wrapped source's packets except those that are dropped.
func (l *Lossy) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	return l.Source.Run(ctx, func(p *traffic.Packet) {
		if l.drop(p) {
			l.lose(p)
			return
		}
		emit(p)
	})
}

func (l *Lossy) lose(p *traffic.Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost[p.Interface] == nil {
		l.lost[p.Interface] = &losses{}
	}
	l.lost[p.Interface].add(p)
}

// Stats is the wrapped source's account with the planted losses in it.
func (l *Lossy) Stats() Stats {
	s := l.Source.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range s.Interfaces {
		if lost := l.lost[s.Interfaces[i].Index]; lost != nil {
			lost.addTo(&s.Interfaces[i])
			s.Interfaces[i].Packets -= min(lost.dropped, s.Interfaces[i].Packets)
			s.Received -= min(lost.dropped, s.Received)
			s.Dropped += lost.dropped
		}
	}
	return s
}
