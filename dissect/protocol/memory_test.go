package protocol

import (
	"bytes"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// TestMemory: what is handed out is empty, has room, and no two pieces overlap, not even when one is outgrown.
func TestMemory(t *testing.T) {
	var m Memory
	type kept struct {
		call    *traffic.Call
		headers []traffic.Header
		room    []traffic.Header // of headers of which it is not known how many come
		text    string
		body    []byte
	}
	var all []kept
	value := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), i*7%1500) }
	for i := range 300 {
		k := kept{call: m.HTTPCall(), headers: m.Headers(i % 40), room: m.Room(), text: m.Text([]byte(value(i))), body: m.Body(i * 29 % 5000)}
		if k.call.HTTP == nil || k.call.Index != 0 || k.headers == nil || len(k.headers) != 0 || cap(k.headers) < i%40 || len(k.body) != 0 || cap(k.body) < i*29%5000 {
			t.Fatalf("%d: %+v", i, k)
		}
		k.call.Index = i
		for range i%40 + 1 { // one more than there is room for
			k.headers = append(k.headers, traffic.Header{Name: k.text, Value: k.text})
		}
		for range i % 300 {
			k.room = append(k.room, traffic.Header{Name: k.text, Value: k.text})
		}
		k.room = m.Keep(k.room)
		if k.room == nil || len(k.room) != i%300 || cap(k.room) != len(k.room) {
			t.Fatalf("%d: %d headers with room for %d", i, len(k.room), cap(k.room))
		}
		k.body = append(k.body, bytes.Repeat([]byte{byte(i)}, i*29%5000+1)...)
		all = append(all, k)
	}
	for i, k := range all {
		if k.call.Index != i || k.text != value(i) || !bytes.Equal(k.body, bytes.Repeat([]byte{byte(i)}, i*29%5000+1)) {
			t.Fatalf("call %d was overwritten", i)
		}
		for _, h := range append(k.headers, k.room...) {
			if h.Name != value(i) || h.Value != value(i) {
				t.Fatalf("headers of call %d were overwritten: %q", i, h)
			}
		}
	}
}
