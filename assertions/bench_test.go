package assertions

import (
	"testing"

	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkCheck judges 10,000 calls by ten checks and the built-in ones.
func BenchmarkCheck(b *testing.B) {
	d := &traffic.Dissection{}
	for i := range 10_000 {
		c := example.One(example.Call{From: "a", To: "b", Path: "/x", At: float64(i), MS: 5, Conn: uint64(i%50 + 1)}, 0)
		c.Index = i / 50
		d.Calls = append(d.Calls, c)
	}
	text := "checks:\n"
	for i := range 10 {
		text += "- name: c" + string(rune('0'+i)) + "\n  on: http && dst.service.name == \"b\" && path == \"/x\"\n" +
			"  expect: none(status_code >= 500) && p95(latency) < duration(\"1s\") && all(method == \"GET\")\n"
	}
	s, err := Parse("bench", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Check(Input{Dissection: d}, CheckOptions{})
	}
}
