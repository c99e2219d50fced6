package dissect_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkMade dissects a capture made in memory: 16 connections of 500 calls each.
func BenchmarkMade(b *testing.B) {
	var packets []traffic.Packet
	for i := range 16 {
		m := newMaker()
		m.client = addrPort("10.0.0.1:" + strconv.Itoa(40000+i))
		m.open()
		for range 500 {
			m.send(0, get, 1400)
			m.send(1, ok, 1400)
		}
		m.close(0)
		packets = append(packets, m.packets...)
	}
	var size int64
	for i := range packets {
		size += int64(packets[i].Length)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		calls := 0
		d := dissect.New(dissect.Options{OnCall: func(*traffic.Call) { calls++ }})
		for i := range packets {
			d.Packet(&packets[i], nil)
		}
		d.EndWindow()
		if calls != 8000 {
			b.Fatalf("found %d calls of 8000", calls)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(8000*b.N), "allocs/call")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(8000*b.N), "B/call")
}
