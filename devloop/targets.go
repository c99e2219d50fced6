package devloop

import (
	"sync"

	"github.com/devloop-io/devloop/capture"
)

// targets knows which cgroup is whose. A start of a service is entered before its process runs its first instruction, so
// that its first packet has a name.
type targets struct {
	mu sync.RWMutex
	by map[uint64]capture.Target
}

func newTargets() *targets { return &targets{by: map[uint64]capture.Target{}} }

func (t *targets) resolve(cgroup uint64) (capture.Target, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	target, ok := t.by[cgroup]
	return target, ok
}

// follows is asked of sources that must be told of each target, because they capture by network namespace.
type follows interface {
	Add(capture.Target) error
	Remove(netns string)
}

// add enters a target, and tells a source that wants to know.
func (t *targets) add(target capture.Target, s capture.Source) error {
	t.mu.Lock()
	t.by[target.CGroup] = target
	t.mu.Unlock()
	if f, ok := s.(follows); ok {
		f.Remove(target.NetNS) // the service's start before this one had the same namespace
		return f.Add(target)
	}
	return nil
}
