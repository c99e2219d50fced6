package startheap_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/startheap"
)

func percent() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

var atStart = percent()

// Until the first collection there is room, and none of it stays afterwards.
func TestUntilTheFirstCollection(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("GOGC is set")
	}
	if atStart != 500 {
		t.Errorf("the percentage is %d at first, not that of 20 MB", atStart)
	}
	runtime.GC()
	for end := time.Now().Add(5 * time.Second); percent() != 100; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("the percentage is %d after a collection", percent())
		}
	}
	debug.SetGCPercent(70)
	if startheap.End(); percent() != 70 {
		t.Errorf("the percentage that was set is %d now", percent())
	}
}
