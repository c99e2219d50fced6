package devloop

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// maxHappened bounds the events that are remembered.
const maxHappened = 1000

// happened are the starts and crashes of local services, in the form of a cluster's events. The zero value is ready.
type happened struct {
	mu     sync.Mutex
	events []traffic.ClusterEvent
}

// between are the events of a span of time.
func (h *happened) between(from, to int64) []traffic.ClusterEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []traffic.ClusterEvent
	for _, e := range h.events {
		if e.Time >= from && e.Time < to {
			list = append(list, e)
		}
	}
	return list
}

func (h *happened) add(service string, e traffic.ClusterEvent) {
	e.Kind, e.Namespace, e.Pod, e.Object = traffic.EventRestart, "local", service, "service/"+service
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	if len(h.events) > maxHappened {
		h.events = slices.Delete(h.events, 0, len(h.events)-maxHappened)
	}
}

// crashed notes a service that ended by itself.
func (h *happened) crashed(c crash) {
	at := c.at
	if at.IsZero() {
		at = time.Now()
	}
	h.add(c.service, traffic.ClusterEvent{Time: at.UnixNano(), Reason: "Crashed", Message: c.what, ExitCode: c.code, Warning: true})
}

// started notes a service that serves, in place of another build or after none.
func (h *happened) started(service, before, now string) {
	e := traffic.ClusterEvent{Time: time.Now().UnixNano(), Reason: "Started", Message: service + " was started, build " + cmp.Or(now, "unknown")}
	if before != "" {
		e.Reason, e.Message = "Replaced", service+": build "+before+" was replaced by "+now
	}
	h.add(service, e)
}

// tellOf has a capture seal what happens to the services of an environment that does not tell by itself.
func (h *happened) tellOf(w *wire) {
	if w != nil && w.events == nil {
		w.events, w.sealed.until = h.between, time.Now().UnixNano()
	}
}
