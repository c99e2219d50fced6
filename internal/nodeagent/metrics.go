package nodeagent

import (
	"fmt"
	"net/http"
	"strings"
)

// getMetrics answers in the text format of Prometheus.
func (a *Agent) getMetrics(w http.ResponseWriter, _ *http.Request) error {
	h, st := a.health(), a.source.Stats()
	var ring int64
	for _, s := range a.ring.list() {
		ring += s.Bytes
	}
	var b strings.Builder
	for _, m := range []struct {
		name, kind, help string
		value            float64
	}{
		{"packets_total", "counter", "Packets that were recorded.", float64(h.Packets)},
		{"bytes_total", "counter", "Bytes of packets that were recorded.", float64(a.bytes.Load())},
		{"kernel_dropped_total", "counter", "Packets that the kernel had no room for.", float64(st.Dropped)},
		{"ring_lost_packets", "gauge", "Packets that could not be written into the growing segment.", float64(a.ring.Lost())},
		{"ring_bytes", "gauge", "Bytes of segments in the ring.", float64(ring)},
		{"ring_limit_bytes", "gauge", "Bound of the ring.", float64(a.o.RingSize)},
		{"cgroups", "gauge", "Cgroups on the node.", float64(h.CGroups)},
		{"streams", "gauge", "Streams that are open.", float64(h.Streams)},
		{"degraded", "gauge", "1 when the source is not the eBPF tap.", number01(h.Degraded != "")},
		{"healthy", "gauge", "1 when packets can be captured and written.", number01(h.OK)},
	} {
		metric(&b, "devloop_agent_"+m.name, m.kind, m.help, m.value)
	}
	metric(&b, "process_resident_memory_bytes", "gauge", "Resident memory.", float64(h.RSS))
	metric(&b, "process_cpu_seconds_total", "counter", "CPU time of user and system.", h.CPU)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write([]byte(b.String()))
	return nil
}

func metric(b *strings.Builder, name, kind, help string, value float64) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n%s %g\n", name, help, name, kind, name, value)
}

func number01(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
