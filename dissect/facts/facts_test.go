package facts_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/traffic"
)

// wide is a call with much to forget; each has ids of its own.
func wide(i int) *traffic.Call {
	return &traffic.Call{
		ID: fmt.Sprintf("local/%x/%d", i/10, i%10), Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "GET", Path: fmt.Sprintf("/orders/%d", i%1000),
		ConnID: uint64(i / 10), Index: i % 10, Status: 200, TraceID: fmt.Sprintf("%032x", i/4), SpanID: fmt.Sprintf("%016x", i),
		Src:   traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: uint16(i), Workload: traffic.Workload{Service: "front"}},
		Dst:   traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.2"), Port: 80, Workload: traffic.Workload{Service: "cart"}},
		Start: int64(i) * 1e6, ResponseStart: int64(i)*1e6 + 5e5, End: int64(i)*1e6 + 9e5,
		HTTP: &traffic.HTTP{RequestBody: make([]byte, 2000), ResponseBody: make([]byte, 20_000)},
	}
}

// TestSize: however wide a call is, little of it stays.
func TestSize(t *testing.T) {
	const n, most = 50_000, 300
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	began := heap()
	w := facts.New()
	for i := range n {
		w.Add(wide(i))
	}
	retries.Find(w)
	derive.Find(w)
	if per := (heap() - began) / n; per > most {
		t.Errorf("the facts of a call take %d bytes, want at most %d", per, most)
	}
	if f := w.At(n - 1); f.ID != wide(n-1).ID || w.Len() != n || f.RouteText() != "/orders/{id}" {
		t.Errorf("the last of %d facts is %+v", w.Len(), f)
	}
}

// TestOwnMemory: facts hold nothing of a call's texts, which may lie within those of packets.
func TestOwnMemory(t *testing.T) {
	text := []byte("local/1/0 GET /a front")
	c := wide(0)
	whole := string(text)
	c.ID, c.Method, c.Path, c.Src.Service = whole[:9], whole[10:13], whole[14:16], whole[17:]
	f := facts.New().Add(c)
	for _, s := range []string{f.ID, f.Asked.Method, f.Asked.Path, f.Src.Name} {
		if within(s, whole) {
			t.Errorf("%q is a part of the call's own text", s)
		}
	}
}

// within reports whether a text lies in the memory of another.
func within(s, whole string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(s)))
	from := uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return at >= from && at < from+uintptr(len(whole))
}
