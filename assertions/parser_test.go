package assertions

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParserRemembers: the second reading of a file says what the first said, and so does one without a memory.
func TestParserRemembers(t *testing.T) {
	const text = `checks:
  - name: a
    on: http
    expect: none(status_code >= 500)
  - name: b
    on: htp
    expect: none(status_code)
  - name: c
    on: tcp
    expect: p95(latency) < 3
    by: ""
  - name: d
    on: ""
    expect: count() > 1
`
	_, plain := Parse("a.netcheck.yaml", []byte(text))
	var p Parser
	for range 2 {
		_, again := p.Parse("a.netcheck.yaml", []byte(text))
		if plain == nil || again == nil {
			t.Fatal("the mistakes were not found")
		}
		if diff := cmp.Diff(plain.Error(), again.Error()); diff != "" {
			t.Error(diff)
		}
	}
	if len(p.compiled) != 4 {
		t.Errorf("%d of 4 checks are remembered", len(p.compiled))
	}
}
